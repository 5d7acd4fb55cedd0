//go:build !race

package dcgm_test

const raceDetector = false
