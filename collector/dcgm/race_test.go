//go:build race

package dcgm_test

// raceDetector says that the race detector is on: sync.Pool, in which purego keeps its arguments, then forgets at random.
const raceDetector = true
