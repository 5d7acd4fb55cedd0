package query

func (b *builder) quality() error  { return nil }
func (b *builder) pipeline() error { return nil }
