package inventory

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/wattledger/wattledger/schemas/wire"
	wl "github.com/wattledger/wattledger/schemas/wire/wattledger/v1"
)

// Publisher sends one message. A nil error means that it is durable.
type Publisher interface {
	Publish(ctx context.Context, key, value []byte) error
}

// Message is one inventory of a site.
type Message struct {
	Site      string
	Inventory *wl.Inventory
}

// Fleet stands in place of the site for what belongs to no site: tenants, and devices of nodes that the file does not list.
const Fleet = "fleet"

// perMessage keeps a message well below what a broker takes: a record has some hundreds of bytes.
const perMessage = 500

// Messages are the statements of a file, one or more for each site in the order of the file.
func Messages(f File) []Message {
	var keys []string
	parts := map[string]*wl.Inventory{}
	part := func(key string) *wl.Inventory {
		if parts[key] == nil {
			parts[key] = &wl.Inventory{}
			keys = append(keys, key)
		}
		return parts[key]
	}
	siteOf := map[string]string{}
	for _, s := range f.Sites {
		p := part(s.ID)
		p.Sites = append(p.Sites, wire.SiteTo(s))
	}
	for _, n := range f.Nodes {
		siteOf[n.ID] = n.Site
		p := part(n.Site)
		p.Nodes = append(p.Nodes, wire.NodeTo(n))
	}
	for _, d := range f.Devices {
		key, ok := siteOf[d.Node]
		if !ok {
			key = Fleet
		}
		p := part(key)
		p.Devices = append(p.Devices, wire.DeviceTo(d))
	}
	for _, t := range f.Tenants {
		p := part(Fleet)
		p.Tenants = append(p.Tenants, wire.TenantTo(t))
	}
	var out []Message
	for _, key := range keys {
		for p := parts[key]; ; {
			m := &wl.Inventory{SchemaVersion: wire.SchemaVersion, Revision: f.Revision}
			room := perMessage
			m.Sites, p.Sites = take(p.Sites, &room)
			m.Nodes, p.Nodes = take(p.Nodes, &room)
			m.Devices, p.Devices = take(p.Devices, &room)
			m.Tenants, p.Tenants = take(p.Tenants, &room)
			if room == perMessage {
				break
			}
			out = append(out, Message{Site: key, Inventory: m})
		}
	}
	return out
}

func take[T any](list []T, room *int) (head, rest []T) {
	n := min(len(list), *room)
	*room -= n
	return list[:n:n], list[n:]
}

// Publish sends the messages in order. After an error it may be called again: equal statements replace one another.
func Publish(ctx context.Context, to Publisher, messages []Message) error {
	for i, m := range messages {
		value, err := proto.MarshalOptions{Deterministic: true}.Marshal(m.Inventory)
		if err != nil {
			return fmt.Errorf("encode message %d of %d: %w", i+1, len(messages), err)
		}
		if err := to.Publish(ctx, []byte(wire.InventoryKey(m.Site, m.Inventory)), value); err != nil {
			return fmt.Errorf("publish message %d of %d: %w", i+1, len(messages), err)
		}
	}
	return nil
}
