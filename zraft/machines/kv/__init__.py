"""The key-value machine: `commands` is what client and machine agree on, `store` the machine."""
