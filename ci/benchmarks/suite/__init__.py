"""What asv times: see compare, beside this folder."""
