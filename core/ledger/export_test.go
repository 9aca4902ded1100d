package ledger

// Oldest is the statement that prunes a table.
func (l *Ledger) Oldest(table string) string { return l.oldest(table) }
