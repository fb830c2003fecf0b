"""Talking to a cluster: sessions, leader discovery, retries and batching; the dict on top."""
