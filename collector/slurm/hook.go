package slurm

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/wattledger/wattledger/schemas/unit"
)

// Hook is one call by slurmd. Slurm drains a node whose prolog fails and sets one down whose epilog does, so whoever calls
// it says what went wrong and exits with 0 all the same. It opens no connection and waits for nobody.
type Hook struct {
	// Directory is where the file goes.
	Directory string
	// MappingDirectory, if set, is dcgm-exporter's job-mapping directory, kept up to date for those who read it.
	MappingDirectory string
	// Environ is the environment that slurmd gave, as os.Environ has it.
	Environ []string
	Now     time.Time
	// Proc is /proc, where the driver says which device file is which GPU.
	Proc string
}

// maxText bounds each text of a file; a job's name is its user's to choose.
const maxText = 1024

func (h Hook) env(names ...string) string {
	for _, name := range names {
		for _, e := range h.Environ {
			if value, ok := strings.CutPrefix(e, name+"="); ok && value != "" {
				if len(value) > maxText {
					value = value[:maxText]
				}
				return strings.ToValidUTF8(value, "\uFFFD")
			}
		}
	}
	return ""
}

// job is what the environment says.
func (h Hook) job() (Job, error) {
	j := Job{
		Version: fileVersion, ID: h.env("SLURM_JOB_ID", "SLURM_JOBID"), UID: h.env("SLURM_JOB_UID"), User: h.env("SLURM_JOB_USER"),
		Account: h.env("SLURM_JOB_ACCOUNT"), Partition: h.env("SLURM_JOB_PARTITION"), Name: h.env("SLURM_JOB_NAME"),
		Comment: h.env("SLURM_JOB_COMMENT"), Cluster: h.env("SLURM_CLUSTER_NAME"), Limit: seconds(h.env("SLURM_JOB_END_TIME")),
	}
	if !plausibleID(j.ID) {
		return j, fmt.Errorf("SLURM_JOB_ID is %q; this is for slurmd to call, as Prolog or Epilog in slurm.conf", j.ID)
	}
	// UUIDs say exactly what was given; they are also the only name of MIG instances. Plain numbers in CUDA_VISIBLE_DEVICES
	// may be the job's own count, and are not used.
	text := h.list("SLURM_JOB_GPUS")
	if visible := h.list("CUDA_VISIBLE_DEVICES"); strings.Contains(visible, "GPU-") || strings.Contains(visible, "MIG-") {
		text = visible
	}
	gpus, err := ParseGPUs(text)
	if err != nil {
		return j, fmt.Errorf("GPUs of job %s: %w", j.ID, err)
	}
	j.GPUs = gpus
	return j, nil
}

// list is not bounded as texts are: half a list would be another list.
func (h Hook) list(name string) string {
	for _, e := range h.Environ {
		if value, ok := strings.CutPrefix(e, name+"="); ok {
			return value
		}
	}
	return ""
}

// seconds reads the form in which Slurm gives instants.
func seconds(text string) unit.Micros {
	n, err := strconv.ParseInt(text, 10, 64)
	if t := unit.Micros(n) * unit.Second; err == nil && n < 1<<33 && plausible(t) {
		return t
	}
	return 0
}

// Prolog notes that a job has got its GPUs. Called again for the same job it changes nothing. A job without GPUs leaves no file.
func (h Hook) Prolog() error {
	j, err := h.job()
	if err != nil || len(j.GPUs) == 0 {
		return err
	}
	j.Start = unit.MicrosOf(h.Now)
	if _, known, err := h.open(j.ID); err != nil {
		return err
	} else if known == nil {
		if err := h.write(h.name(j), j); err != nil {
			return err
		}
	}
	return h.mapping(j, true)
}

// Epilog notes that a job has given its GPUs back. Without a prolog before it, it says what it can.
func (h Hook) Epilog() error {
	j, err := h.job()
	if err != nil && j.ID == "" {
		return err
	}
	file, known, openErr := h.open(j.ID)
	if openErr != nil {
		return openErr
	}
	if known != nil {
		gpus := known.GPUs
		if len(gpus) == 0 {
			gpus = j.GPUs
		}
		j = *known
		j.GPUs, err = gpus, nil
	} else {
		file = ""
		j.Start = seconds(h.env("SLURM_JOB_START_TIME"))
	}
	switch {
	case err != nil:
		return err
	case len(j.GPUs) == 0:
		return nil
	case known == nil && h.ended(j.ID):
		return h.mapping(j, false) // the epilog again
	case j.Start == 0:
		return errors.Join(fmt.Errorf("job %s: no prolog has run, and SLURM_JOB_START_TIME is not given; set Prolog in slurm.conf", j.ID), h.mapping(j, false))
	}
	j.End = max(unit.MicrosOf(h.Now), j.Start+1)
	if file == "" {
		file = h.name(j)
	}
	return errors.Join(h.write(file, j), h.mapping(j, false))
}

// name tells one run of a job from the next: a job that is requeued keeps its id.
func (h Hook) name(j Job) string { return j.ID + "." + strconv.FormatInt(int64(j.Start), 10) + ".json" }

// open finds the file of a job that runs.
func (h Hook) open(id string) (name string, found *Job, err error) {
	err = h.each(id, func(file string, j *Job) {
		if j.End == 0 {
			name, found = file, j
		}
	})
	return name, found, err
}

func (h Hook) ended(id string) (yes bool) {
	_ = h.each(id, func(_ string, j *Job) { yes = yes || j.End != 0 }) // what cannot be read has not ended
	return yes
}

func (h Hook) each(id string, do func(file string, j *Job)) error {
	if !plausibleID(id) {
		return fmt.Errorf("%q is no job id", id)
	}
	files, err := filepath.Glob(filepath.Join(h.Directory, id+".*.json"))
	if err != nil {
		return fmt.Errorf("look for job %s: %w", id, err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			continue // cleared away meanwhile
		}
		if j, err := ParseJob(data); err == nil && j.ID == id {
			do(filepath.Base(file), &j)
		}
	}
	return nil
}

func (h Hook) write(name string, j Job) error {
	data, err := json.Marshal(j)
	if err != nil {
		return fmt.Errorf("job %s: %w", j.ID, err)
	}
	if err := replace(filepath.Join(h.Directory, name), append(data, '\n')); err != nil {
		return fmt.Errorf("job %s: %w", j.ID, err)
	}
	return nil
}

// replace puts a whole file in the place of another. It is not synced: what a power cut takes the job does not survive either.
func replace(name string, data []byte) error {
	dir := filepath.Dir(name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".new-*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(0o644), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}
