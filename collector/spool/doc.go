// Package spool keeps messages on the node's disk between reading and publishing.
//
// It owns a folder: segments of checksummed records, a cursor, and what had to be given up. It promises that a message is
// on disk before Put returns, that messages come out in the order in which they were put, that the folder stays within its
// limits, and that whatever it gives up is counted, and remembered until the caller says that it was reported. A message
// may come out twice after a kill, never with other bytes. Publishing and reporting are left to others. DESIGN.md says
// what survives what, FORMAT.md has the bytes.
package spool
