package slurm

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// mapping keeps dcgm-exporter's directory: a file for each GPU, by index, with a job id per line. MIG instances are left out,
// as their numbers are not known without the driver.
func (h Hook) mapping(j Job, begins bool) error {
	if h.MappingDirectory == "" {
		return nil
	}
	indexes, err := h.indexes()
	if err != nil {
		return err
	}
	unlock, err := lock(h.MappingDirectory)
	if err != nil {
		return fmt.Errorf("job-mapping directory: %w", err)
	}
	defer unlock()
	var faults []error
	for _, g := range j.GPUs {
		minor, ok := number(g)
		index, known := indexes[minor]
		if !ok || !known {
			continue
		}
		name := filepath.Join(h.MappingDirectory, strconv.Itoa(index))
		data, err := os.ReadFile(name)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			faults = append(faults, err)
			continue
		}
		jobs := slices.DeleteFunc(parseMapping(data), func(id string) bool { return id == j.ID })
		if begins {
			jobs = append(jobs, j.ID)
		}
		text := ""
		if len(jobs) > 0 {
			text = strings.Join(jobs, "\n") + "\n"
		}
		if err := replace(name, []byte(text)); err != nil {
			faults = append(faults, err)
		}
	}
	if err := errors.Join(faults...); err != nil {
		return fmt.Errorf("job-mapping directory: %w", err)
	}
	return nil
}

// indexes maps the number of a device file to the index of its GPU: the driver counts GPUs in the order of the PCI bus, and
// says beside each which file is its.
func (h Hook) indexes() (map[int]int, error) {
	files, err := filepath.Glob(filepath.Join(h.Proc, "driver/nvidia/gpus/*/information"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("job-mapping directory: no GPU in %s/driver/nvidia/gpus; is the driver loaded?", h.Proc)
	}
	slices.Sort(files) // 0000:1b:00.0: fixed width, so by bus
	out := map[int]int{}
	for index, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("job-mapping directory: %w", err)
		}
		for line := range strings.SplitSeq(string(data), "\n") {
			if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "Device Minor" {
				if minor, ok := number(strings.TrimSpace(value)); ok {
					out[minor] = index
				}
			}
		}
	}
	return out, nil
}

// lock keeps two hooks from writing one file at once, and waits a second at most.
func lock(dir string) (unlock func(), err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, ".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for range 50 {
		if err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err == nil {
			return func() { f.Close() }, nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	f.Close()
	return nil, fmt.Errorf("lock: another hook holds it: %w", err)
}

// parseMapping reads the lines of one file of the directory.
func parseMapping(data []byte) (jobs []string) {
	lines := bufio.NewScanner(bytes.NewReader(data))
	for lines.Scan() {
		id := strings.TrimSpace(strings.ToValidUTF8(lines.Text(), "\uFFFD"))
		if id != "" && len(id) <= maxText && len(jobs) < maxGPUs && !slices.Contains(jobs, id) {
			jobs = append(jobs, id)
		}
	}
	return jobs
}

// parseMappingName reads a name: the index of a GPU, perhaps with a GPU instance (3, 3.7).
func parseMappingName(name string) (index, instance int, ok bool) {
	gpu, gi, divided := strings.Cut(name, ".")
	index, ok = number(gpu)
	if !ok || !divided {
		return index, -1, ok
	}
	instance, ok = number(gi)
	return index, instance, ok
}
