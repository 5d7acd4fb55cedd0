/* check.c: goes through most calls of the simulated library, with two nodes played by two threads each, so that the
 * sanitizers and valgrind have something to look at. What the values must be is tested in ../simtest; see the command
 * lines in ../SCENARIO.md. Exits 0 when every call did what it should. */
#include "check.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#define T0 INT64_C(1735689600000000)
#define S INT64_C(1000000)

static const char scenario[] = "seed 3\n"
			       "start 1735689600000000\n"
			       "model P100 name=\"Tesla P100\" arch=4 gpus=2 idle_w=27.5 limit_w=250 energy_counter=0\n"
			       "node a hgx-b200\n"
			       "node b gb200\n"
			       "node p P100\n"
			       "mig a 0 3 2 1\n"
			       "series wave 1735689600000000 7000000 0.1 0.9 0.33\n"
			       "load a 0.1 1735689601234000 1735689660000000 training\n"
			       "load a 1 1735689600000000 1735689650000000 inference share=300\n"
			       "load a 1 1735689600000000 1735689650000000 loop:wave share=500\n"
			       "load b 1 1735689605000000 1735689650000000 series:wave\n"
			       "load b 3 1735689605000000 1735689650000000 const:0.7\n"
			       "reset a 1 1735689612345000\n"
			       "missing a 1 155 1735689610000000 1735689620000000\n"
			       "stuck a 2 156 1735689610000000 1735689620000000\n"
			       "xid a 1 1735689611000000 79\n"
			       "lost a 3 1735689620000000\n"
			       "restart b 1735689630000000\n"
			       "end b 1735689640000000\n"
			       "boot b 1735689650000000\n"
			       "mark 1735689633333000\n"
			       "node c hgx-b200\n"
			       "mig c 0 3 2 1\n"
			       "repartition c 0 +10s 4 2\n"
			       "load c 0.0 +0s +1h training\n"
			       "load c 0.4 +11s +1h const:0.5\n"
			       "switches c 2\n"
			       "sxid c 1 +12s 20034 fatal\n"
			       "driver c +15s 590.44.01\n"
			       "blank c 1 155 +5s +9s filler\n"
			       "blank c 1 156 +5s +20s stale\n"
			       "blank c 2 54 +5s +9s not_found\n"
			       "forbid c 157\n"
			       "clockback c +17s 5000000\n"
			       "shuffle c\n"
			       "lost c 4 +18s\n"
			       "plug c 4 +20s\n"
			       "fatal c 5 +25s 119\n"
			       "slow c dcgmGetGpuStatus 1000 +0s ever\n"
			       "hang c dcgmGetAllDevices +3s +4s\n"
			       "hang c dcgmGetAllDevices +30s ever\n";

static atomic_int bad;

static void expect(const char *what, int64_t got, int64_t want)
{
	if (got == want)
		return;
	printf("%s: %lld, want %lld (%s)\n", what, (long long)got, (long long)want, wlsim_error());
	bad = 1;
}

static int count_values(uint32_t eg, uint32_t eid, dcgmFieldValue_v1 *v, int n, void *user)
{
	(void)eg;
	(void)eid;
	for (int i = 0; i < n; i++)
		*(int64_t *)user += v[i].version == VERSION(dcgmFieldValue_v1, 1);
	return 0;
}

static const uint16_t fields[] = {1, 4, 50, 54, 155, 156, 157, 112, 166, 203, 230, 250, 252, 1001, 1002, 1009, 1012, 1201, 1130, 1133};
enum { NFIELDS = sizeof fields / sizeof fields[0] };

static dcgmHandle_t join(const char *node)
{
	dcgmConnectV2Params_v2 p = {.version = VERSION(dcgmConnectV2Params_v2, 2)};
	dcgmHandle_t h = 0;
	expect(node, dcgmConnect_v2(node, &p, &h), 0);
	return h;
}

static void *collect(void *arg)
{
	const char *node = arg;
	dcgmHandle_t h = join(node);
	dcgmGpuGrp_t g = 0;
	dcgmFieldGrp_t f = 0;
	char name[64];
	snprintf(name, sizeof name, "fields-%llu", (unsigned long long)h);
	expect("group", dcgmGroupCreate(h, 5, "all", &g), 0);
	expect("fields", dcgmFieldGroupCreate(h, NFIELDS, fields, name, &f), 0);
	expect("watch", dcgmWatchFields(h, g, f, S, 10, 0), 0);
	dcgmFieldValue_v2 *out = malloc(2 * NFIELDS * sizeof *out);
	dcgmGroupEntityPair_t pairs[2] = {{EG_GPU, 1}, {EG_GPU_I, 1}};
	int64_t next = 0, seen = 0;
	for (int64_t t = T0; t <= T0 + 29 * S; t += 100000) {
		wlsim_advance(node, t); /* refused where the other thread is ahead */
		if (t % S)
			continue;
		expect("latest", dcgmEntitiesGetLatestValues(h, pairs, 2, fields, NFIELDS, t % (2 * S) ? 1 : 0, out), 0);
		expect("since", dcgmGetValuesSince_v2(h, g, f, next, &next, count_values, &seen), 0);
		expect("latest by callback", dcgmGetLatestValues_v2(h, g, f, count_values, &seen), 0);
	}
	expect("any samples", seen > 1000, 1);
	expect("unwatch", dcgmUnwatchFields(h, g, f), 0);
	free(out);
	expect("disconnect", dcgmDisconnect(h), 0);
	return NULL;
}

static void *hang(void *arg)
{
	unsigned ids[MAX_GPUS];
	int32_t n = 0;
	expect("devices that hang", dcgmGetAllDevices(*(dcgmHandle_t *)arg, ids, &n), 0);
	expect("how many", n, 8);
	return NULL;
}

/* mishaps goes through a node on which all goes wrong. */
static void mishaps(void)
{
	static const uint16_t ids[] = {1, 6, 54, 155, 156, 157, 230, 449, 705, 856, 861, 1002, 1203};
	enum { N = sizeof ids / sizeof ids[0] };
	dcgmHandle_t h = join("c");
	dcgmFieldGrp_t f = 0;
	dcgmGpuGrp_t g = 0;
	dcgmFieldValue_v2 *out = malloc(7 * N * sizeof *out);
	const dcgmGroupEntityPair_t pairs[7] = {{EG_GPU, 1}, {EG_GPU, 2}, {EG_GPU, 4}, {EG_GPU_I, 0}, {EG_GPU_I, 256}, {EG_GPU_CI, 257}, {EG_SWITCH, 1}};
	int64_t next = 0, seen = 0;
	int32_t status = 0;
	expect("group", dcgmGroupCreate(h, 5, "all", &g), 0);
	expect("fields", dcgmFieldGroupCreate(h, N, ids, "f", &f), 0);
	expect("watch", dcgmWatchFields(h, g, f, S / 4, 1, 0), 0);
	for (int s = 0; s < 40; s++) {
		pthread_t t;
		int hangs = s == 3 || s == 35;
		if (hangs)
			pthread_create(&t, NULL, hang, &h);
		wlsim_advance("c", T0 + s * S);
		if (s == 10)
			dcgmWatchFields(h, GROUP_ALL_ENTITIES, f, S / 4, 1, 0);
		expect("latest", dcgmEntitiesGetLatestValues(h, pairs, 7, ids, N, 0, out), 0);
		expect("live", dcgmEntitiesGetLatestValues(h, pairs, 6, ids, N, 1, out), 0);
		expect("since", dcgmGetValuesSince_v2(h, g, f, next, &next, count_values, &seen), s < 10 ? 0 : ST_INSTANCE_NOT_FOUND);
		expect("status", dcgmGetGpuStatus(h, 4, &status), 0);
		wlsim_advance("c", T0 + s * S + S / 2);
		if (s == 35)
			expect("release", wlsim_release("c"), 0);
		else if (hangs)
			wlsim_advance("c", T0 + 4 * S);
		if (hangs)
			pthread_join(t, NULL);
	}
	expect("any samples", seen > 1000, 1);
	expect("calls", wlsim_calls("dcgmGetGpuStatus") >= 40 && wlsim_cpu_ns() > 0, 1);
	free(out);
	expect("disconnect", dcgmDisconnect(h), 0);
}

static void discover(dcgmHandle_t h)
{
	unsigned ids[MAX_GPUS];
	int32_t n = 0, status = 0;
	expect("devices", dcgmGetAllDevices(h, ids, &n), 0);
	expect("how many", n, 8);
	expect("status", dcgmGetGpuStatus(h, 3, &status), 0);
	dcgmDeviceAttributes_v3 *a = calloc(1, sizeof *a);
	a->version = VERSION(dcgmDeviceAttributes_v3, 3);
	expect("attributes", dcgmGetDeviceAttributes(h, 1, a), 0);
	free(a);
	dcgmMigHierarchy_v2 *x = calloc(1, sizeof *x);
	x->version = VERSION(dcgmMigHierarchy_v2, 2);
	expect("hierarchy", dcgmGetGpuInstanceHierarchy(h, x), 0);
	expect("entries", x->count, 6);
	free(x);
	dcgmAllFieldGroup_v1 *all = calloc(1, sizeof *all);
	all->version = VERSION(dcgmAllFieldGroup_v1, 1);
	expect("field groups", dcgmFieldGroupGetAll(h, all), 0);
	free(all);
	dcgmGroupInfo_v3 *info = calloc(1, sizeof *info);
	info->version = VERSION(dcgmGroupInfo_v3, 3);
	expect("group", dcgmGroupGetInfo(h, GROUP_ALL_ENTITIES, info), 0);
	expect("members", info->count, 8 + 3 + 3);
	free(info);
}

static void embedded(void)
{
	dcgmStartEmbeddedV2Params_v1 p = {.version = VERSION(dcgmStartEmbeddedV2Params_v1, 1), .opMode = 2}, again = p;
	dcgmFieldGrp_t f = 0;
	dcgmFieldValue_v2 *v = malloc(sizeof *v);
	dcgmGroupEntityPair_t gpu = {EG_GPU, 5};
	uint16_t id = 155;
	expect("embedded", dcgmStartEmbedded_v2(&p), 0);
	expect("handle", (int64_t)p.dcgmHandle, (int64_t)EMBEDDED_HANDLE);
	expect("embedded again", dcgmStartEmbedded_v2(&again), 0);
	expect("no handle", (int64_t)again.dcgmHandle, 0);
	expect("fields", dcgmFieldGroupCreate(p.dcgmHandle, 1, &id, "manual", &f), 0);
	expect("watch", dcgmWatchFields(p.dcgmHandle, GROUP_ALL_GPUS, f, S, 1, 0), 0);
	int64_t now = wlsim_now("a");
	wlsim_advance("a", now + 5 * S);
	dcgmEntitiesGetLatestValues(p.dcgmHandle, &gpu, 1, &id, 1, 0, v);
	expect("manual mode samples on demand only", v->ts, now);
	expect("update", dcgmUpdateAllFields(p.dcgmHandle, 1), 0);
	dcgmEntitiesGetLatestValues(p.dcgmHandle, &gpu, 1, &id, 1, 0, v);
	expect("updated", v->ts, now + 5 * S);
	expect("stop", dcgmStopEmbedded(p.dcgmHandle), 0);
	free(v);
}

int main(int argc, char **argv)
{
	const char *dir = argc > 1 ? argv[1] : "/tmp";
	char path[4096];
	snprintf(path, sizeof path, "%s/check-scenario.txt", dir);
	FILE *file = fopen(path, "w");
	if (!file || fputs(scenario, file) < 0 || fclose(file)) {
		perror(path);
		return 1;
	}
	expect("a bad text", wlsim_check("nonsense", 8), -1);
	expect("load", wlsim_load(path), 0);
	expect("init", dcgmInit(), 0);
	pthread_t t[4];
	const char *nodes[4] = {"a", "b", "a", "b"};
	for (int i = 0; i < 4; i++)
		pthread_create(&t[i], NULL, collect, (void *)nodes[i]);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	dcgmHandle_t a = join("a"), b = join("b:5555"), p = join("p");
	discover(a);
	expect("loading while connected", wlsim_load(path), -1);
	wlsim_advance("b", T0 + 60 * S);
	dcgmHostengineHealth_v1 health = {.version = VERSION(dcgmHostengineHealth_v1, 1)};
	expect("a connection from before the boot", dcgmHostengineIsHealthy(b, &health), ST_CONNECTION_NOT_VALID);
	expect("another", dcgmHostengineIsHealthy(p, &health), 0);
	dcgmDisconnect(a);
	embedded();
	mishaps();
	snprintf(path, sizeof path, "%s/check-truth.csv", dir);
	expect("truth", wlsim_write_truth(path), 0);
	expect("shutdown", dcgmShutdown(), 0);
	snprintf(path, sizeof path, "%s/check-scenario.txt", dir);
	expect("load again", wlsim_load(path), 0);
	puts(bad ? "check: something is wrong" : "check: all as it should be");
	return bad;
}
