package kafkacluster

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// ErrNotInstalled means that Kafka cannot run here: a test skips, and says so.
var ErrNotInstalled = errors.New("kafka is not installed")

// Installed is the folder of the jars in the checkout that holds the working directory.
func Installed() (string, error) {
	if _, err := exec.LookPath("java"); err != nil {
		return "", fmt.Errorf("%w: no java in the path; install Java 17 or newer and Maven, then run make kafka-jars", ErrNotInstalled)
	}
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("no go.mod above the working directory")
		}
	}
	jars := filepath.Join(dir, ".cache", "kafka", "libs")
	if found, _ := filepath.Glob(filepath.Join(jars, "kafka_*.jar")); len(found) != 1 {
		return "", fmt.Errorf("%w: %s holds no Kafka; run make kafka-jars, which needs Maven", ErrNotInstalled, jars)
	}
	return jars, nil
}
