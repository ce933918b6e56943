"""What tests read of infra/ without any provider: blocks, rendered locals, tables for the docs, rules on plans."""
