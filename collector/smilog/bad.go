package smilog

import "fmt"

// Reason is why a row was not used: a word of a closed list.
type Reason string

// The reasons.
const (
	ReasonBeforeHeader Reason = "before_header" // a line before the first header
	ReasonCells        Reason = "cells"         // more or fewer values than the header has columns
	ReasonTime         Reason = "time"          // no readable time
	ReasonMissingHour  Reason = "missing_hour"  // a local time that the change to summer time leaves out
	ReasonIdentity     Reason = "identity"      // the value that tells GPUs apart is missing
	ReasonValue        Reason = "value"         // a value that is neither a number in its unit nor missing
	ReasonTruncated    Reason = "truncated"     // the last line, cut off
	ReasonTooLong      Reason = "too_long"      // a line no nvidia-smi writes
	ReasonTooManyGPUs  Reason = "too_many_gpus" // a GPU beyond MaxGPUs
	ReasonTimeBack     Reason = "time_back"     // a good row that lies before one already accounted
)

// BadRow is a row that was not used, whole. It is an error that says where, what and how to mend it.
type BadRow struct {
	// Line counts from 1; Column is the byte in the line at which the value begins, from 1.
	Line   int64
	Column int
	Reason Reason
	// Detail is what is wrong and the remedy.
	Detail string
	// Text is the line; of one that is too long, its beginning.
	Text string
}

func (b *BadRow) Error() string {
	return fmt.Sprintf("line %d, column %d: %s", b.Line, b.Column, b.Detail)
}
