// Package transparency keeps the log in which the seals of a deployment stand: append-only, each leaf the record of a seal,
// never an entry.
//
// It owns the tree over the records (RFC 6962), its checkpoints (C2SP tlog-checkpoint, signed notes), its tiles (C2SP
// tlog-tiles) and proofs (C2SP tlog-proof). It promises to sign no checkpoint that is inconsistent with the last one that was
// signed, and to append each seal once and in the order of its site's chain. Where records are kept is the Store's.
package transparency
