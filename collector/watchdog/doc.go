// Package watchdog stands between the agent's loop and a source whose calls may be slow or never return.
//
// It owns the goroutine that calls the source. It promises that the loop waits for no call longer than the deadline: a
// reading that is late is an error at its tick, and the reading after it is made when the late one has returned. A call
// that has not returned after a while is abandoned, with the thread and the connection it holds, and the source is opened
// anew; what an abandoned call still brings is never looked at. After a few of those Exhausted says so, and the process
// had better be replaced by a fresh one: threads that hang in a C library can be had back in no other way.
//
// It lives by real time, since that is what a hung call wastes, and knows nothing of what is read.
package watchdog
