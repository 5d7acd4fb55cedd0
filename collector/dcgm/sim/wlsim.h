/* wlsim.h: what the files of the simulated libdcgm share.
 *
 * Scenario  what the text file says: models, nodes, devices, loads, events. Written by scenario.c, then never changed
 *           except for the state inside its nodes.
 * Node      one host on its own virtual clock, with the engine state (groups, watches, samples). Guarded by its mutex.
 * Device    a GPU or a Grace CPU with its physics: integer milliwatts over integer milliseconds, so energy is exact µJ.
 *
 * Nothing below api.c and control.c touches anything outside the node it was handed: nodes play in parallel.
 * Quantities: *_us µs since 1970, *_ms ms since 1970, *_mw mW, *_uj µJ, u and act in millionths (PPM). */
#ifndef WLSIM_H
#define WLSIM_H

#include "abi.h"
#include "scenario.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define EXPORT __attribute__((visibility("default")))

/* What a device shows at one instant. Activity integrals are since boot in PPM·µs and wrap: only differences count. */
typedef struct {
	int64_t t_us;
	int64_t energy_mj, energy_ts_us;
	int64_t mean_mw, inst_mw;
	uint64_t act[KINDS];
	uint64_t busy;
	int32_t u[KINDS];
	int32_t on;     /* PPM: 0 or PPM */
	int32_t heat;   /* PPM of the thermal state */
	int64_t module_mw; /* CPU only: 1 s mean of the GPUs of its module */
	int64_t capped_ms; /* since boot */
	int32_t fb_ppm;
	int32_t since;  /* number of boots, drivers and plugs: counters and activity of another one do not compare */
	bool lost, capped, detached;
} Snap;

typedef struct {
	FaultKind kind;
	int why; /* of a blank */
	uint16_t field;
	int64_t from_us, to_us;
	Snap held[1 + MAX_INSTANCES]; /* stuck: the device and its instances at from_us */
	bool have;
} Fault;

typedef struct {
	int64_t t_ms, uj;
	int64_t inst_uj[MAX_INSTANCES];
} TruthRow;

typedef struct { /* one kind of utilisation: the whole device or one instance */
	int32_t u[KINDS], on;
	int32_t fb_ppm;
	uint64_t act[KINDS], busy; /* PPM·ms since boot */
} Usage;

typedef struct Node Node;

typedef struct {
	Node *node;
	const Model *model;
	int index;
	bool cpu;
	char uuid[64], serial[32];
	uint64_t seed;
	int phase_ms;
	int64_t idle_mw, full_mw, limit_mw, mig_idle_mw, noise_mw;

	Load *loads;
	int nloads, caploads;
	int64_t *resets_ms;
	int nresets;
	int64_t *losts_ms;
	int nlosts;
	int64_t *plugs_ms;
	int nplugs;
	Fault *faults;
	int nfaults;
	bool stale; /* a fault of that kind is among them */
	Events xids;
	Instance inst[MAX_INSTANCES];
	int ninst;

	/* state of play, moved by play() only */
	int64_t pos_ms;
	int64_t change_ms; /* when anything but the slot changes next */
	int64_t slot;      /* number of the slot that pos_ms lies in */
	int64_t power_mw;  /* of the segment that pos_ms lies in */
	int64_t heat;      /* Q30 */
	int64_t total_uj;  /* since scenario start, never reset: the truth */
	int64_t grid_uj[16]; /* total_uj at the end of slot n, at n & 15 */
	int64_t base_uj, base_ms; /* counter restarted here */
	int64_t boot_uj, boot_ms;
	int64_t capped_ms;
	int64_t u;      /* PPM, of the whole device */
	int lo, hi;     /* the instances that exist: lo <= i < hi */
	int32_t since;
	bool up, lost;
	int64_t weight[MAX_INSTANCES], weights; /* u of the instances × slices, and their sum */
	int64_t p_base, p_drift, p_amp; /* mW: steady power, drift when hot, noise amplitude; follow u */
	int64_t span_base_uj, span_rest_uj; /* MIG: since the last change, not yet in inst_uj */
	int64_t inst_uj[MAX_INSTANCES];
	Usage whole, part[MAX_INSTANCES];
	int *active;
	int nactive, capactive, next_load;
	int next_reset, next_lost, next_plug, next_power, next_driver, next_fault; /* faults in the order of from_us */
	int64_t truth_ms;  /* next truth row */
	int next_edge, next_mark;
	int64_t *edges_ms;
	int nedges;
	TruthRow *truth;
	int ntruth, captruth;
} Device;

typedef struct {
	int64_t t_ms;
	bool boot; /* false: end */
} Power;

typedef struct {
	uint32_t group, id;
	Node *node;
	Device *dev;  /* NULL for the node itself and for switches */
	Switch *sw;
	int inst;     /* -1: the whole device */
	struct Watch **watch; /* by field slot, NULL until first needed */
	struct Sampler *samplers;
} Entity;

/* Sampler: the samples of one entity at one interval and phase, shared by its watched fields. */
typedef struct Sampler {
	struct Sampler *next;       /* of the same entity */
	struct Sampler *clock_next; /* of the same clock */
	struct Clock *clock;
	Entity *entity;
	int refs;
	int64_t keep_us;
	Snap *ring;
	int64_t head, n, cap; /* oldest at head */
} Sampler;

typedef struct Clock {
	struct Clock *next;
	int64_t interval_us, due_us;
	Sampler *samplers;
} Clock;

/* Watch: one field of one entity as the engine samples it. */
typedef struct Watch {
	Sampler *sampler; /* NULL: no longer watched, held is the last value */
	int64_t interval_us, keep_us, since_us, until_us;
	Snap held, held_prev;
	bool have, have_prev;
} Watch;

/* Request: one dcgmWatchFields call. */
typedef struct Request {
	struct Request *next;
	dcgmHandle_t owner;
	dcgmGpuGrp_t group;
	dcgmFieldGrp_t fields;
	int64_t interval_us, keep_us;
	int nent, nfield;
	Entity **ent;
	uint16_t *field;
} Request;

typedef struct {
	bool used;
	dcgmHandle_t owner;
	char name[MAX_STR];
	uint32_t n, cap;
	dcgmGroupEntityPair_t *members;
} Group;

typedef struct {
	bool used;
	dcgmHandle_t owner;
	char name[MAX_STR];
	uint32_t n;
	uint16_t ids[MAX_FIELDS_PER_GROUP];
} FieldGroup;

struct Node {
	pthread_mutex_t mu; /* guards everything below that is not scenario */
	struct Scenario *scenario;
	char name[128];
	const Model *model;
	uint64_t seed;
	Device *dev; /* GPUs, then CPUs */
	int ngpu, ncpu;
	Power *powers;
	int npowers;
	int64_t *restarts_ms; /* of the host engine alone */
	int nrestarts;
	Driver *drivers;
	int ndrivers;
	Span *fatals; /* the engine makes no driver calls */
	int nfatals;
	Step *steps;
	int nsteps;
	Delay *delays;
	int ndelays;
	Events events; /* of the node itself */
	Switch *sw;
	int nsw;
	bool forbid[FIELDS_MAX]; /* by field slot */
	int profiling;           /* what watching profiling fields answers */
	bool skew, shuffle;

	pthread_cond_t moved; /* now_us went on, or a delay is over */
	int64_t now_us;
	bool manual;
	int boots;       /* passed so far */
	int epoch;       /* of the host engine: a connection of an earlier one is dead */
	bool up;
	int next_power, next_restart;

	Entity *ent;
	int nent;
	Clock *clocks;
	Request *requests;
	Group *groups; /* MAX_GROUPS, allocated on first use */
	FieldGroup *fgroups;
	uint32_t group_seq, fgroup_seq;
	uint32_t group_id[MAX_GROUPS], fgroup_id[MAX_FIELD_GROUPS];
};

typedef struct Scenario {
	int refs;
	uint64_t seed;
	int64_t start_us;
	bool wall;
	Node **node;
	int nnode, capnode;
	Node **by_name; /* open hash */
	int nhash;
	Model **model;
	int nmodel;
	Series **series;
	int nseries, capseries;
	int64_t *marks_ms;
	int nmarks;
} Scenario;

#pragma GCC visibility push(hidden)

/* scenario.c: text to Scenario; NULL with a message naming line and column. */
Scenario *scenario_parse(const char *text, int64_t len, char *err, size_t errlen);
void scenario_free(Scenario *s);
Node *scenario_node(const Scenario *s, const char *name, size_t len);
extern const char scenario_default[];

/* model.c: personas and derived identity. */
const Model *model_builtin(const char *name);
void derive_uuid(char *out, const char *prefix, uint64_t seed, const char *node, const char *what, int index, int inst);
uint64_t derive(uint64_t seed, const char *node, const char *what, int index, int inst);
uint64_t mix64(uint64_t x);
int gpu_minor(const Device *d);
void gpu_pci(const Device *d, char *out, size_t n);
void instance_name(const Device *d, const Instance *in, bool ci, char *out, size_t n);
const char *driver_version(const Node *n, int64_t t_us);
bool driver_away(const Node *n, int64_t t_us);

/* load.c: utilisation of one load at t, and when it next changes. */
int32_t load_at(const Load *l, int64_t t_ms, int64_t *next_ms);

/* play.c: physics. */
void device_begin(Device *d);
void play(Device *d, int64_t to_ms);
void take(Device *d, int inst, int64_t t_us, Snap *out);

/* truth.c */
int truth_write(Scenario *s, const char *path, char *err, size_t errlen);
void truth_row(Device *d);
int64_t truth_at(const Device *d, int64_t t_ms);

/* fields.c: metadata. */
dcgm_field_meta_t *field_by_id(uint16_t id);
dcgm_field_meta_t *field_by_tag(const char *tag);
int field_slot(uint16_t id); /* dense number below FIELDS_MAX, -1 when unknown */
bool field_profiling(uint16_t id);

/* values.c: the value of a field from snapshots. prev may be NULL. */
typedef struct {
	int32_t status;
	int64_t ts;
	int64_t i64;
	double dbl;
	char str[MAX_STR];
	int blob; /* bytes of str that are a blob */
} Value;
void value_of(const Entity *e, const dcgm_field_meta_t *m, const Snap *cur, const Snap *prev, Value *out);
void value_blank(const dcgm_field_meta_t *m, int why, Value *out);
void value_put(const Value *v, const dcgm_field_meta_t *m, dcgmValue_t *out);

/* sampler.c */
void *must(void *p);
void snap(Node *n, const Entity *e, int64_t t_us, Snap *s); /* not in the past of its device */
int entity_gone(const Entity *e, int64_t t_us);            /* ST_OK, or why there is no such instance at t */
Snap *ring_at(const Sampler *s, int64_t i);                 /* 0 is the oldest */
void clock_sample(Node *n, Clock *c, int64_t t_us);
Sampler *sampler_get(Node *n, Entity *e, int64_t interval_us); /* in phase with now */
void sampler_drop(Node *n, Sampler *s);

/* engine.c and watch.c: the virtual clock and the watches. Callers hold node->mu. */
void engine_start(Node *n);
void engine_clear(Node *n);
int engine_advance(Node *n, int64_t t_us);
void engine_sample_due(Node *n);
int64_t stamp(const Node *n, int64_t t_us); /* what the engine's wall clock shows at t */
int engine_watch(Node *n, Request *r); /* takes r over */
void request_free(Request *r);
void engine_unwatch(Node *n, dcgmHandle_t owner, bool any_owner, dcgmGpuGrp_t g, bool any_group, dcgmFieldGrp_t f, bool any_fields);
Entity *engine_entity(Node *n, uint32_t group, uint32_t id);
void engine_latest(Node *n, Entity *e, const dcgm_field_meta_t *m, Value *out);
void engine_live(Node *n, Entity *e, const dcgm_field_meta_t *m, Value *out);
/* engine_since appends every sample with ts >= since; the caller frees *out. Returns the watch's status. */
int engine_since(Node *n, Entity *e, const dcgm_field_meta_t *m, int64_t since, Value **out, int64_t *count);

/* call.c: which exported call a thread is in, what it costs, and how long the scenario holds it up. */
enum {
#define C(name, node) CALL_##name,
#include "calls.def"
#undef C
	CALLS
};
#define CALL(name) __attribute__((cleanup(call_end), unused)) int in_call = call_begin(CALL_##name)
int call_begin(int id);
void call_end(int *id);
int call_leave(void); /* around callbacks: what the caller does there is not ours */
void call_back(int id);
int call_named(const char *name); /* -1: not a call that reaches a node */
void call_delay(Node *n);         /* node->mu is held before and after */
void call_release(Node *n, bool all); /* those that apply now, or all */
void calls_begin(void);           /* reads the environment */

/* conn.c: handles. */
typedef struct Conn {
	int refs;
	bool closed, persist, embedded;
	Scenario *scenario;
	Node *node;
	int epoch; /* of the node's engine when it was opened */
	dcgmHandle_t handle;
} Conn;
/* conn_enter finds the node of a handle, plays it to now when it is on the wall clock, and locks it. */
int conn_enter(dcgmHandle_t h, Conn **c);
void conn_leave(Conn *c);
/* conn_pause unlocks the node and keeps the connection, for callbacks; conn_resume is its inverse. */
void conn_pause(Conn *c);
int conn_resume(Conn *c);
int conn_open(const char *name, size_t len, bool embedded, bool persist, bool manual, dcgmHandle_t *out);
int conn_close(dcgmHandle_t h);
bool conn_embedded(dcgmHandle_t *h);
/* conn_drop ends the use of a connection whose node is not locked. */
void conn_drop(Conn *c);
int conn_init(void);
void conn_shutdown(void);
int scenario_install(Scenario *s);
Scenario *scenario_hold(void);
void scenario_drop(Scenario *s);
int64_t wall_us(void);
void set_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* group.c, used by read.c */
int group_members(Node *n, dcgmGpuGrp_t g, dcgmGroupEntityPair_t **out, uint32_t *count);
FieldGroup *fgroup_find(Node *n, dcgmFieldGrp_t f);
void groups_drop_owner(Node *n, dcgmHandle_t owner);

#pragma GCC visibility pop

#endif
