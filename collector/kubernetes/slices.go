package kubernetes

import (
	"context"
	"errors"
	"net/url"

	"github.com/wattledger/wattledger/schemas/unit"
)

// sliceList is the part of a list of ResourceSlices (resource.k8s.io/v1 and v1beta1) that is read. v1beta1 keeps the
// attributes of a device under basic.
type sliceList struct {
	Metadata struct {
		Continue string `json:"continue"`
	} `json:"metadata"`
	Items []struct {
		Spec struct {
			Driver string `json:"driver"`
			Pool   struct {
				Name string `json:"name"`
			} `json:"pool"`
			Devices []struct {
				Name       string                    `json:"name"`
				Attributes map[string]sliceAttribute `json:"attributes"`
				Basic      struct {
					Attributes map[string]sliceAttribute `json:"attributes"`
				} `json:"basic"`
			} `json:"devices"`
		} `json:"spec"`
	} `json:"items"`
}

type sliceAttribute struct {
	String string `json:"string"`
}

// slices maps the devices of the DRA drivers of a node to their UUIDs.
func (a *api) slices(ctx context.Context, node string, drivers []string) (map[draDevice]string, error) {
	out := map[draDevice]string{}
	path := "/apis/resource.k8s.io/v1/resourceslices"
	query := url.Values{"fieldSelector": {"spec.nodeName=" + node}, "limit": {"50"}}
	for {
		var page sliceList
		err := a.decode(ctx, path, query, &page)
		if errors.Is(err, errNotFound) && path == "/apis/resource.k8s.io/v1/resourceslices" {
			path = "/apis/resource.k8s.io/v1beta1/resourceslices"
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, item := range page.Items {
			if !contains(drivers, item.Spec.Driver) {
				continue
			}
			for _, d := range item.Spec.Devices {
				uuid := d.Attributes["uuid"].String
				if uuid == "" {
					uuid = d.Basic.Attributes["uuid"].String
				}
				if uuid != "" {
					out[draDevice{item.Spec.Pool.Name, d.Name}] = uuid
				}
			}
		}
		if page.Metadata.Continue == "" {
			return out, nil
		}
		query.Set("continue", page.Metadata.Continue)
	}
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

// sliceRetry is how soon the slices are read again for a device that is not among them.
const sliceRetry = 5 * unit.Second

// uuidOf resolves a DRA device, reading the slices again when it is new.
func (s *Source) uuidOf(ctx context.Context, d draDevice) string {
	s.mu.Lock()
	uuid, api, read := s.dra[d], s.api, s.draRead
	s.mu.Unlock()
	if now := s.clock.Now(); uuid == "" && api != nil && now >= read+sliceRetry {
		found, err := api.slices(ctx, s.cfg.Node, s.cfg.Drivers)
		s.mu.Lock()
		s.draRead = now
		if err == nil {
			s.dra = found
		}
		uuid = s.dra[d]
		s.mu.Unlock()
		if err != nil {
			s.met.apiErrors.WithLabelValues("slices").Inc()
			s.log.Warn("resource slices not read", "error", err)
		}
	}
	return uuid
}
