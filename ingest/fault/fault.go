// Package fault says where in a file of a person's something is wrong, and how to mend it.
//
// It owns the form of a finding and the guess at a misspelt name. What is wrong is for the readers of the formats to find.
package fault

import "fmt"

// Fault is one thing wrong in a file.
type Fault struct {
	// Line and Column count from 1; Column counts bytes. 0 is the file, or the line, as a whole.
	Line   int `json:"line"`
	Column int `json:"column"`
	// Text says what is wrong and how to mend it.
	Text string `json:"text"`
}

func (f Fault) Error() string {
	switch {
	case f.Line == 0:
		return f.Text
	case f.Column == 0:
		return fmt.Sprintf("line %d: %s", f.Line, f.Text)
	default:
		return fmt.Sprintf("line %d, column %d: %s", f.Line, f.Column, f.Text)
	}
}

// Nearest is the name that was probably meant, or none when nothing is near.
func Nearest(name string, known []string) string {
	best, distance := "", 1+len(name)/3 // one slip in three letters, and one more
	for _, k := range known {
		if d := edits(name, k); d <= distance && (best == "" || d < distance) {
			best, distance = k, d
		}
	}
	return best
}

// edits is the least number of letters inserted, removed or replaced that turns a into b.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			above := row[j+1]
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			row[j+1] = min(cost, above+1, row[j]+1)
			diagonal = above
		}
	}
	return row[len(b)]
}
