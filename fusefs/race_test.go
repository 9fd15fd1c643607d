//go:build race

package fusefs

// raceDetector: requests cost much more, since sync.Pool then drops many of the buffers.
const raceDetector = true
