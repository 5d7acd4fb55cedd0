package main

import (
	"encoding/csv"
	"fmt"
	"os"
	"strconv"

	"github.com/wattledger/wattledger/collector/smilog"
)

// badRows keeps the rows of logs that could not be used, with where they stood and why.
type badRows struct {
	name  string
	first string
	file  *os.File
	csv   *csv.Writer
}

// keep is the function that a log hands its bad rows to.
func (b *badRows) keep(log string) func(*smilog.BadRow) error {
	return func(r *smilog.BadRow) error {
		if b.file == nil {
			f, err := os.Create(b.name)
			if err != nil {
				return fmt.Errorf("keep bad rows: %w", err)
			}
			b.file, b.csv, b.first = f, csv.NewWriter(f), log+": "+r.Error()
			if err := b.csv.Write([]string{"file", "line", "column", "reason", "detail", "text"}); err != nil {
				return fmt.Errorf("keep bad rows: %w", err)
			}
		}
		err := b.csv.Write([]string{log, strconv.FormatInt(r.Line, 10), strconv.Itoa(r.Column), string(r.Reason), r.Detail, r.Text})
		b.csv.Flush()
		return err
	}
}

func (b *badRows) close() {
	if b.file != nil {
		b.file.Close()
	}
}
