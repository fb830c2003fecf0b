"""The history of the cluster: who was elected in which term, how, and how that leadership ended."""
