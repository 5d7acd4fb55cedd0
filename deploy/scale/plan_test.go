package scale_test

import (
	"math"
	"testing"
)

// plan is what a fleet of some GPUs needs at one sample a second.
type plan struct {
	rows          float64 // a second
	ingestCores   float64
	ingesters     float64
	brokers       float64
	partitions    float64
	kafkaTB       float64 // all copies
	rawTBPerDay   float64 // one copy
	rawTB         float64 // one copy
	engineCores   float64 // of one copy
	shards        float64
	servers       float64
	batchAge      float64 // seconds
	batchRows     float64
	toKafka       float64 // MB/s, as are those below
	betweenKafka  float64
	toIngest      float64
	toClickHouse  float64
	betweenShards float64
	toReplicas    float64
}

const million, mega, tera, day = 1e6, 1e6, 1e12, 86_400.0

func (f figures) plan(gpus float64) plan {
	m, c := f.Measured, f.Chosen
	var p plan
	p.rows = gpus // one a second
	p.ingestCores = p.rows / million * m["ingest_cpu"].Value
	p.ingesters = max(c["min_ingesters"].Value, math.Ceil(p.ingestCores/c["cpu_share"].Value/c["ingest_cores"].Value))

	p.toKafka = p.rows * m["message_bytes"].Value / mega
	p.kafkaTB = p.toKafka * mega * day * c["kafka_days"].Value * c["kafka_copies"].Value / tera
	p.brokers = max(c["brokers_min"].Value,
		math.Ceil(p.toKafka*c["kafka_copies"].Value/c["broker_mb_s"].Value),
		math.Ceil(p.kafkaTB/(c["broker_disk_tb"].Value*c["disk_share"].Value)))
	p.partitions = max(c["partitions_broker"].Value*p.brokers, p.ingesters, math.Ceil(p.toKafka/c["partition_mb_s"].Value))
	p.partitions = math.Ceil(p.partitions/p.brokers) * p.brokers // the same on each broker
	p.betweenKafka = p.toKafka * (c["kafka_copies"].Value - 1)
	p.toIngest = p.toKafka

	p.engineCores = p.rows / million * m["engine_cpu"].Value
	p.rawTBPerDay = p.rows * day * m["stored_bytes"].Value / tera
	p.rawTB = p.rawTBPerDay * c["raw_days"].Value
	p.shards = f.shards(p.rawTB, p.engineCores)
	p.servers = p.shards * c["replicas"].Value
	p.toClickHouse = p.rows * m["insert_bytes"].Value / mega
	p.betweenShards = p.toClickHouse * (p.shards - 1) / p.shards // the server that is asked keeps its own part
	p.toReplicas = p.rows * m["stored_bytes"].Value * (c["replicas"].Value - 1) / mega

	// Nodes of a partition are on all shards: an insert makes a part on each.
	p.batchAge = max(c["batch_age_min"].Value, math.Ceil(p.partitions/c["inserts_shard"].Value*10)/10)
	p.batchRows = p.rows / p.partitions * p.batchAge
	return p
}

// shards are as many as disk or processors ask for.
func (f figures) shards(rawTB, engineCores float64) float64 {
	c := f.Chosen
	return max(1, math.Ceil(rawTB/(c["server_disk_tb"].Value*c["disk_share"].Value)), math.Ceil(engineCores/(c["server_cores"].Value*c["cpu_share"].Value)))
}

// Reckoned by hand from round figures.
func TestThePlanIsRight(t *testing.T) {
	f := figures{Measured: map[string]figure{
		"ingest_cpu": {Value: 2}, "engine_cpu": {Value: 4}, "message_bytes": {Value: 100}, "insert_bytes": {Value: 200}, "stored_bytes": {Value: 25},
	}, Chosen: map[string]figure{
		"cpu_share": {Value: 0.5}, "ingest_cores": {Value: 1}, "min_ingesters": {Value: 2}, "brokers_min": {Value: 3}, "broker_mb_s": {Value: 60}, "broker_disk_tb": {Value: 1000},
		"kafka_days": {Value: 10}, "kafka_copies": {Value: 3}, "partition_mb_s": {Value: 10}, "partitions_broker": {Value: 1}, "server_cores": {Value: 4}, "server_disk_tb": {Value: 100},
		"disk_share": {Value: 0.5}, "replicas": {Value: 2}, "raw_days": {Value: 100}, "inserts_shard": {Value: 4}, "batch_age_min": {Value: 1},
	}}
	got := f.plan(1_000_000)
	want := plan{
		rows:        1_000_000,
		ingestCores: 2, ingesters: 4, // 2 cores, half used, one each
		toKafka: 100, betweenKafka: 200, toIngest: 100, // MB/s
		kafkaTB: 259.2, // 100 MB/s × 864,000 s × 3
		brokers: 5,     // 300 MB/s over 60
		// ten of 10 MB/s, and two on each broker
		partitions:  10,
		rawTBPerDay: 2.16, rawTB: 216, engineCores: 4,
		shards: 5, servers: 10, // 216 TB over 50; processors ask for 2
		toClickHouse: 200, betweenShards: 160, toReplicas: 25,
		batchAge: 2.5, batchRows: 250_000,
	}
	if !near(got, want) {
		t.Errorf("plan = %+v\nwant   %+v", got, want)
	}
	if n := f.shards(1, 7); n != 4 {
		t.Errorf("%g shards for 7 cores of inserts, want 4: two cores of each server", n)
	}
}

func near(a, b plan) bool {
	x := []float64{a.rows, a.ingestCores, a.ingesters, a.brokers, a.partitions, a.kafkaTB, a.rawTBPerDay, a.rawTB, a.engineCores, a.shards, a.servers, a.batchAge, a.batchRows, a.toKafka, a.betweenKafka, a.toIngest, a.toClickHouse, a.betweenShards, a.toReplicas}
	y := []float64{b.rows, b.ingestCores, b.ingesters, b.brokers, b.partitions, b.kafkaTB, b.rawTBPerDay, b.rawTB, b.engineCores, b.shards, b.servers, b.batchAge, b.batchRows, b.toKafka, b.betweenKafka, b.toIngest, b.toClickHouse, b.betweenShards, b.toReplicas}
	for i := range x {
		if math.Abs(x[i]-y[i]) > 1e-9*max(1, math.Abs(y[i])) {
			return false
		}
	}
	return true
}
