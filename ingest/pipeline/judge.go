package pipeline

import (
	"crypto/sha256"

	"github.com/wattledger/wattledger/schemas/wire"
)

// Identify reads who sent a message and which of its run it is, as far as the bytes say it: also of a message that is refused
// for what else is in it. Two messages with one identity count once.
func Identify(topic string, key, value []byte) (run Run, seq uint64, ok bool) {
	if topic == wire.TopicInventory {
		sum := sha256.Sum256(value)
		return Run{wire.InventorySite(string(key)), inventorySource, [wire.RunBytes]byte(sum[:])}, 0, true
	}
	id, ok := peek(topic, value)
	return id.run, id.seq, ok
}

// Judge says why the message would be refused before the store sees it, or nil.
func Judge(m Message) *Refusal {
	p := New(DefaultConfig(), m.Topic, m.Partition, nil)
	p.Learn(p.Ask([]Message{m}), nil)
	p.Offer(m, m.Received)
	if refused := p.Batch().Refused; len(refused) > 0 {
		return &refused[0]
	}
	return nil
}
