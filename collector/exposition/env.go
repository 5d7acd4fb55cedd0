package exposition

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Alias is an option of dcgm-exporter and what it means here.
type Alias struct {
	// Flag and Env are dcgm-exporter's.
	Flag, Env string
	// Option is the key of our configuration.
	Option string
	// set translates the value for a key of this package; it is nil when the key is another's.
	set func(c *Config, value string) error
	// translate makes our value for a key of another package.
	translate func(value string) (string, error)
}

// Aliases lists the options of dcgm-exporter that mean something here. Those left out have no counterpart, or ask for
// what the collector always does.
var Aliases = []Alias{
	{Flag: "--collectors", Env: "DCGM_EXPORTER_COLLECTORS", Option: "metrics.counters_file", set: func(c *Config, v string) error { c.CountersFile = v; return nil }},
	{Flag: "--devices", Env: "DCGM_EXPORTER_DEVICES_STR", Option: "metrics.entities", set: func(c *Config, v string) error {
		_, err := parseEntities(v)
		c.Entities = v
		return err
	}},
	{Flag: "--no-hostname", Env: "DCGM_EXPORTER_NO_HOSTNAME", Option: "metrics.hostname_label", set: flag(func(c *Config, on bool) {
		if on {
			c.HostnameLabel = "off"
		}
	})},
	{Flag: "--use-old-namespace", Env: "DCGM_EXPORTER_USE_OLD_NAMESPACE", Option: "metrics.old_namespace", set: flag(func(c *Config, on bool) { c.OldNamespace = on })},
	{Flag: "--replace-blanks-in-model-name", Env: "DCGM_EXPORTER_REPLACE_BLANKS_IN_MODEL_NAME", Option: "metrics.dashes_in_model", set: flag(func(c *Config, on bool) { c.DashesInModel = on })},
	{Flag: "--kubernetes-virtual-gpus", Env: "KUBERNETES_VIRTUAL_GPUS", Option: "metrics.series_per_holder", set: flag(func(c *Config, on bool) { c.SeriesPerHolder = on })},
	{Flag: "--xid-count-window-size", Env: "DCGM_EXPORTER_XID_COUNT_WINDOW_SIZE", Option: "metrics.xid_window", set: func(c *Config, v string) error {
		d, err := milliseconds(v)
		c.XIDWindow = d
		return err
	}},
	{Flag: "--address", Env: "DCGM_EXPORTER_LISTEN", Option: "metrics.listen", translate: same},
	{Flag: "--collect-interval", Env: "DCGM_EXPORTER_INTERVAL", Option: "agent.period", translate: func(v string) (string, error) {
		d, err := milliseconds(v)
		return d.String(), err
	}},
	{Flag: "--remote-hostengine-info", Env: "DCGM_REMOTE_HOSTENGINE_INFO", Option: "dcgm.address", translate: same},
	{Flag: "--kubernetes", Env: "DCGM_EXPORTER_KUBERNETES", Option: "kubernetes.enabled", translate: same},
	{Flag: "--pod-resources-kubelet-socket", Env: "DCGM_POD_RESOURCES_KUBELET_SOCKET", Option: "kubernetes.socket", translate: same},
	{Flag: "--nvidia-resource-names", Env: "NVIDIA_RESOURCE_NAMES", Option: "kubernetes.resources", translate: same},
	{Flag: "--hpc-job-mapping-dir", Env: "DCGM_HPC_JOB_MAPPING_DIR", Option: "slurm.mapping_directory", translate: same},
	{Flag: "--web-config-file", Env: "DCGM_EXPORTER_WEB_CONFIG_FILE", Option: "metrics.web_config_file", translate: same},
}

func same(v string) (string, error) { return v, nil }

func flag(set func(c *Config, on bool)) func(c *Config, v string) error {
	return func(c *Config, v string) error {
		on, err := strconv.ParseBool(v)
		if err != nil {
			return fmt.Errorf("%q is neither true nor false", v)
		}
		set(c, on)
		return nil
	}
}

func milliseconds(v string) (time.Duration, error) {
	const most = 24 * 3600 * 1000
	n, err := strconv.ParseInt(strings.TrimSpace(v), 10, 64)
	if err != nil || n <= 0 || n > most {
		return 0, fmt.Errorf("%q is no number of milliseconds up to a day", v)
	}
	return time.Duration(n) * time.Millisecond, nil
}

// Setting is a value that dcgm-exporter's environment has for a key of ours.
type Setting struct{ Env, Option, Value string }

// ConfigFromEnv takes into c what dcgm-exporter's environment variables say about it; empty ones say nothing. It returns
// all settings it found in our words: those under metrics. that belong to Config are taken already, the others are for
// whoever owns their key. Our own file, environment and flags are meant to be applied afterwards and win.
func ConfigFromEnv(c *Config, environ []string) ([]Setting, error) {
	values := map[string]string{}
	for _, e := range environ {
		if name, v, ok := strings.Cut(e, "="); ok && v != "" {
			values[name] = v
		}
	}
	var found []Setting
	var faults []error
	for _, a := range Aliases {
		v, ok := values[a.Env]
		if !ok {
			continue
		}
		var err error
		if a.set != nil {
			err = a.set(c, v)
		} else {
			v, err = a.translate(v)
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %w; correct it, unset it, or set %s instead", a.Env, err, a.Option))
			continue
		}
		found = append(found, Setting{a.Env, a.Option, v})
	}
	return found, errors.Join(faults...)
}
