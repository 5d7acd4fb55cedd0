// Package reference writes the pages that list configuration keys and metrics, from the code itself.
//
// It owns the form of those lists. It promises that a key stands there with the comment of its field and its default, and a
// metric with its help, so that a page cannot say what the code does not. Which structs and metrics are listed is left to
// the program whose page it is; a test of that program holds the page against the code.
package reference
