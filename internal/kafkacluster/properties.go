package kafkacluster

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// properties are the configuration of one broker, as the text of its file.
func (c *Cluster) properties(b *Broker) string {
	var voters []string
	for _, o := range c.brokers {
		voters = append(voters, fmt.Sprintf("%d@%s", o.id, o.controller))
	}
	replicas := min(3, c.cfg.Brokers)
	p := map[string]string{
		"process.roles":                  "broker,controller",
		"node.id":                        strconv.Itoa(b.id),
		"controller.quorum.voters":       strings.Join(voters, ","),
		"controller.listener.names":      "CONTROLLER",
		"listeners":                      "CLIENT://" + b.addr + ",CONTROLLER://" + b.controller,
		"advertised.listeners":           "CLIENT://" + b.addr,
		"inter.broker.listener.name":     "CLIENT",
		"listener.security.protocol.map": "CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT",
		"log.dirs":                       filepath.Join(b.dir, "data"),
		// A topic is made on purpose, or not at all.
		"auto.create.topics.enable":  "false",
		"default.replication.factor": strconv.Itoa(replicas),
		"min.insync.replicas":        strconv.Itoa(max(1, replicas-1)),
		// One machine: the internal topics need not be spread over fifty partitions each.
		"offsets.topic.num.partitions":                     "4",
		"offsets.topic.replication.factor":                 strconv.Itoa(replicas),
		"transaction.state.log.num.partitions":             "1",
		"transaction.state.log.replication.factor":         strconv.Itoa(replicas),
		"transaction.state.log.min.isr":                    "1",
		"share.coordinator.state.topic.num.partitions":     "1",
		"share.coordinator.state.topic.replication.factor": strconv.Itoa(replicas),
		"share.coordinator.state.topic.min.isr":            "1",
		"group.initial.rebalance.delay.ms":                 "0",
		"log.cleaner.dedupe.buffer.size":                   "16777216",
	}
	if c.cfg.Secure {
		store := filepath.Join(c.cfg.Dir, "broker.pem")
		maps.Copy(p, map[string]string{
			// Brokers know one another by certificate, clients log in: a stolen password is no broker.
			"listeners":                                           "CLIENT://" + b.addr + ",BROKER://" + b.internal + ",CONTROLLER://" + b.controller,
			"advertised.listeners":                                "CLIENT://" + b.addr + ",BROKER://" + b.internal,
			"inter.broker.listener.name":                          "BROKER",
			"listener.security.protocol.map":                      "CLIENT:SASL_SSL,BROKER:SSL,CONTROLLER:SSL",
			"ssl.keystore.type":                                   "PEM",
			"ssl.keystore.location":                               store,
			"ssl.truststore.type":                                 "PEM",
			"ssl.truststore.location":                             filepath.Join(c.cfg.Dir, "ca.pem"),
			"sasl.enabled.mechanisms":                             "SCRAM-SHA-512",
			"authorizer.class.name":                               "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
			"super.users":                                         "User:" + Admin + ";User:CN=" + brokerName,
			"allow.everyone.if.no.acl.found":                      "false",
			"listener.name.client.scram-sha-512.sasl.jaas.config": "org.apache.kafka.common.security.scram.ScramLoginModule required;",
			"listener.name.broker.ssl.client.auth":                "required",
			"listener.name.controller.ssl.client.auth":            "required",
		})
	}
	maps.Copy(p, c.cfg.Properties)
	var text strings.Builder
	for _, k := range slices.Sorted(maps.Keys(p)) {
		fmt.Fprintf(&text, "%s=%s\n", k, p[k])
	}
	return text.String()
}
