"""What every chunked run shares: the gate, plans, markers, the ledger and the loop over batches."""
