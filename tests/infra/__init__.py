"""What tests read of infra/ without any provider: its blocks, its rendered locals, its tables for the docs, its rules."""
