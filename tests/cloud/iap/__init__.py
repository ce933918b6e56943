"""Identity-Aware Proxy: who may pass."""
