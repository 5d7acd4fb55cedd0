/* read.c: watching and reading values. */
#include "wlsim.h"

#include <stdlib.h>
#include <string.h>

typedef int (*group_cb)(uint32_t eg, uint32_t eid, dcgmFieldValue_v1 *values, int n, void *user);
typedef int (*gpu_cb)(uint32_t gpu, dcgmFieldValue_v1 *values, int n, void *user);

static const dcgm_field_meta_t unknown_field = {.fieldType = 'i', .scope = 1};

static void to_v1(uint16_t id, const dcgm_field_meta_t *m, const Value *v, dcgmFieldValue_v1 *out)
{
	out->version = VERSION(dcgmFieldValue_v1, 1);
	out->fieldId = id;
	out->fieldType = (uint16_t)m->fieldType;
	out->status = v->status;
	out->ts = v->ts;
	value_put(v, m, &out->value);
}

static void to_v2(uint32_t eg, uint32_t eid, uint16_t id, const dcgm_field_meta_t *m, const Value *v, dcgmFieldValue_v2 *out)
{
	out->version = VERSION(dcgmFieldValue_v2, 2);
	out->entityGroupId = eg;
	out->entityId = eid;
	out->fieldId = id;
	out->fieldType = (uint16_t)m->fieldType;
	out->status = v->status;
	out->unused = 0;
	out->ts = v->ts;
	value_put(v, m, &out->value);
}

/* read_one is the value of one field of one entity, or the reason why there is none. */
static const dcgm_field_meta_t *read_one(Node *n, Entity *e, uint16_t id, bool live, Value *v)
{
	const dcgm_field_meta_t *m = field_by_id(id);
	if (!m || !e) {
		v->ts = 0;
		const dcgm_field_meta_t *as = m ? m : &unknown_field;
		value_blank(as, BLANK, v);
		v->status = m ? ST_BADPARAM : ST_UNKNOWN_FIELD;
		return as;
	}
	if (live)
		engine_live(n, e, m, v);
	else
		engine_latest(n, e, m, v);
	return m;
}

/* place is where the value that was asked for at i stands in the answer of n values. */
static size_t place(const Node *node, size_t i, size_t n)
{
	static const size_t primes[] = {7919, 7907, 7901, 7883, 7879, 7877}; /* one of them does not divide n < 2^17 */
	if (!node->shuffle)
		return i;
	size_t k = 0;
	while (k < 5 && n % primes[k] == 0)
		k++;
	return (i * primes[k] + n / 3 + 1) % n;
}

EXPORT dcgmReturn_t dcgmWatchFields(
	dcgmHandle_t h, dcgmGpuGrp_t g, dcgmFieldGrp_t f, int64_t interval_us, double keep_s, int32_t keep_samples)
{
	CALL(dcgmWatchFields);
	Conn *c;
	if (interval_us < 1000 || interval_us > INT64_C(1000000) * 86400 * 365 || !(keep_s >= 0) || keep_s > 1e8 || keep_samples < 0)
		return ST_BADPARAM;
	int rc = conn_enter(h, &c);
	if (rc != ST_OK)
		return rc;
	Node *n = c->node;
	FieldGroup *fg = fgroup_find(n, f);
	dcgmGroupEntityPair_t *list = NULL;
	uint32_t count = 0;
	rc = fg ? group_members(n, g, &list, &count) : ST_BADPARAM;
	if (rc == ST_OK && !count)
		rc = ST_BADPARAM;
	Request *r = rc == ST_OK ? calloc(1, sizeof *r) : NULL;
	if (r) {
		interval_us -= interval_us % 1000; /* whole milliseconds take effect */
		int64_t keep = (int64_t)keep_s * 1000000, by_count = (int64_t)keep_samples * interval_us;
		*r = (Request){.owner = h, .group = g, .fields = f, .interval_us = interval_us, .nfield = (int)fg->n};
		r->keep_us = keep > by_count ? keep : by_count;
		if (r->keep_us < 1000000)
			r->keep_us = 1000000;
		r->ent = calloc(count, sizeof *r->ent);
		r->field = calloc(fg->n, sizeof *r->field);
	}
	if (rc == ST_OK && (!r || !r->ent || !r->field)) {
		free(r ? r->ent : NULL);
		free(r ? r->field : NULL);
		free(r);
		rc = ST_MEMORY;
	} else if (rc == ST_OK) {
		for (uint32_t i = 0; i < count; i++)
			if ((r->ent[r->nent] = engine_entity(n, list[i].entityGroupId, list[i].entityId)))
				r->nent++;
		memcpy(r->field, fg->ids, fg->n * sizeof *fg->ids);
		rc = engine_watch(n, r);
	}
	free(list);
	conn_leave(c);
	return rc;
}

EXPORT dcgmReturn_t dcgmUnwatchFields(dcgmHandle_t h, dcgmGpuGrp_t g, dcgmFieldGrp_t f)
{
	CALL(dcgmUnwatchFields);
	Conn *c;
	int rc = conn_enter(h, &c);
	if (rc != ST_OK)
		return rc;
	engine_unwatch(c->node, h, false, g, false, f, false);
	conn_leave(c);
	return ST_OK;
}

EXPORT dcgmReturn_t dcgmUpdateAllFields(dcgmHandle_t h, int32_t wait)
{
	CALL(dcgmUpdateAllFields);
	Conn *c;
	(void)wait;
	int rc = conn_enter(h, &c);
	if (rc != ST_OK)
		return rc;
	engine_sample_due(c->node);
	conn_leave(c);
	return ST_OK;
}

EXPORT dcgmReturn_t dcgmEntitiesGetLatestValues(dcgmHandle_t h, const dcgmGroupEntityPair_t *pairs, uint32_t npairs, const uint16_t *fields,
	uint32_t nfields, uint32_t flags, dcgmFieldValue_v2 *out)
{
	CALL(dcgmEntitiesGetLatestValues);
	Conn *c;
	if (!pairs || !fields || !out || !npairs || !nfields || npairs > MAX_ENTITIES_PER_GROUP || nfields > MAX_FIELDS_PER_GROUP)
		return ST_BADPARAM;
	int rc = conn_enter(h, &c);
	if (rc != ST_OK)
		return rc;
	Node *n = c->node;
	rc = n->skew ? ST_FUNCTION_NOT_FOUND : ST_OK;
	for (uint32_t i = 0; i < npairs && flags & 1 && rc == ST_OK; i++)
		if (pairs[i].entityGroupId == EG_VGPU || pairs[i].entityGroupId == EG_SWITCH)
			rc = ST_FIELD_UNSUPPORTED_BY_API;
	for (uint32_t i = 0; i < npairs && rc == ST_OK; i++) {
		Entity *e = engine_entity(n, pairs[i].entityGroupId, pairs[i].entityId);
		for (uint32_t k = 0; k < nfields; k++) {
			Value v;
			const dcgm_field_meta_t *m = read_one(n, e, fields[k], flags & 1, &v);
			size_t at = place(n, (size_t)i * nfields + k, (size_t)npairs * nfields);
			to_v2(pairs[i].entityGroupId, pairs[i].entityId, fields[k], m, &v, &out[at]);
		}
	}
	conn_leave(c);
	return rc;
}

EXPORT dcgmReturn_t dcgmEntityGetLatestValues(
	dcgmHandle_t h, uint32_t eg, int32_t eid, const uint16_t *fields, uint32_t nfields, dcgmFieldValue_v1 *out)
{
	CALL(dcgmEntityGetLatestValues);
	Conn *c;
	if (!fields || !out || !nfields || nfields > MAX_FIELDS_PER_GROUP)
		return ST_BADPARAM;
	int rc = conn_enter(h, &c);
	if (rc != ST_OK)
		return rc;
	Entity *e = engine_entity(c->node, eg, (uint32_t)eid);
	rc = c->node->skew ? ST_FUNCTION_NOT_FOUND : e ? entity_gone(e, c->node->now_us) : ST_BADPARAM;
	for (uint32_t k = 0; rc == ST_OK && k < nfields; k++) {
		Value v;
		const dcgm_field_meta_t *m = read_one(c->node, e, fields[k], false, &v);
		to_v1(fields[k], m, &v, &out[k]);
	}
	conn_leave(c);
	return rc;
}

EXPORT dcgmReturn_t dcgmGetLatestValuesForFields(
	dcgmHandle_t h, int32_t gpu, const uint16_t *fields, uint32_t nfields, dcgmFieldValue_v1 *out)
{
	CALL(dcgmGetLatestValuesForFields);
	return dcgmEntityGetLatestValues(h, EG_GPU, gpu, fields, nfields, out);
}

/* A walk over group × field group that hands values to a callback with the node unlocked. */
typedef struct {
	Conn *c;
	dcgmGroupEntityPair_t *list;
	uint32_t count, nfields;
	uint16_t fields[MAX_FIELDS_PER_GROUP];
} Walk;

static int walk_begin(dcgmHandle_t h, dcgmGpuGrp_t g, dcgmFieldGrp_t f, Walk *w)
{
	int rc = conn_enter(h, &w->c);
	if (rc != ST_OK)
		return rc;
	const FieldGroup *fg = fgroup_find(w->c->node, f);
	rc = fg ? group_members(w->c->node, g, &w->list, &w->count) : ST_BADPARAM;
	if (rc != ST_OK) {
		conn_leave(w->c);
		return rc;
	}
	w->nfields = fg->n;
	memcpy(w->fields, fg->ids, sizeof w->fields);
	return ST_OK;
}

static int call(group_cb cb, gpu_cb gcb, const dcgmGroupEntityPair_t *e, dcgmFieldValue_v1 *v, int n, void *user)
{
	return cb ? cb(e->entityGroupId, e->entityId, v, n, user) : gcb(e->entityId, v, n, user);
}

static dcgmReturn_t latest(dcgmHandle_t h, dcgmGpuGrp_t g, dcgmFieldGrp_t f, group_cb cb, gpu_cb gcb, void *user)
{
	Walk w;
	if (!cb && !gcb)
		return ST_BADPARAM;
	int rc = walk_begin(h, g, f, &w);
	if (rc != ST_OK)
		return rc;
	if (w.c->node->skew) {
		conn_leave(w.c);
		free(w.list);
		return ST_FUNCTION_NOT_FOUND;
	}
	size_t total = (size_t)w.count * w.nfields;
	dcgmFieldValue_v1 *out = malloc((total + 1) * sizeof *out);
	for (size_t i = 0; out && i < total; i++) { /* all at one instant, then the callbacks */
		Value v;
		const dcgmGroupEntityPair_t *e = &w.list[i / w.nfields];
		uint16_t id = w.fields[i % w.nfields];
		const dcgm_field_meta_t *m = read_one(w.c->node, engine_entity(w.c->node, e->entityGroupId, e->entityId), id, false, &v);
		to_v1(id, m, &v, &out[i]);
	}
	conn_leave(w.c);
	int id = call_leave();
	for (size_t i = 0; out && i < total; i++) {
		const dcgmGroupEntityPair_t *e = &w.list[i / w.nfields];
		if (gcb && e->entityGroupId != EG_GPU)
			continue;
		if (call(cb, gcb, e, &out[i], 1, user))
			break;
	}
	call_back(id);
	rc = out ? ST_OK : ST_MEMORY;
	free(out);
	free(w.list);
	return rc;
}

EXPORT dcgmReturn_t dcgmGetLatestValues(dcgmHandle_t h, dcgmGpuGrp_t g, dcgmFieldGrp_t f, gpu_cb cb, void *user)
{
	CALL(dcgmGetLatestValues);
	return latest(h, g, f, NULL, cb, user);
}

EXPORT dcgmReturn_t dcgmGetLatestValues_v2(dcgmHandle_t h, dcgmGpuGrp_t g, dcgmFieldGrp_t f, group_cb cb, void *user)
{
	CALL(dcgmGetLatestValues_v2);
	return latest(h, g, f, cb, NULL, user);
}

enum { CHUNK = 32 };

/* give hands the samples of one entity and field over, a chunk at a time. */
static bool give(const dcgmGroupEntityPair_t *e, uint16_t id, const Value *v, int64_t n, group_cb cb, gpu_cb gcb, void *user)
{
	const dcgm_field_meta_t *m = field_by_id(id);
	dcgmFieldValue_v1 *out = malloc(CHUNK * sizeof *out);
	bool stop = !out;
	for (int64_t i = 0; i < n && !stop; i += CHUNK) {
		int k = 0;
		for (; k < CHUNK && i + k < n; k++)
			to_v1(id, m, &v[i + k], &out[k]);
		int in = call_leave();
		stop = call(cb, gcb, e, out, k, user) != 0;
		call_back(in);
	}
	free(out);
	return !stop;
}

static dcgmReturn_t since(
	dcgmHandle_t h, dcgmGpuGrp_t g, dcgmFieldGrp_t f, int64_t from, int64_t *next, group_cb cb, gpu_cb gcb, void *user)
{
	Walk w;
	if (!cb && !gcb)
		return ST_BADPARAM;
	int rc = walk_begin(h, g, f, &w);
	if (rc != ST_OK)
		return rc;
	int64_t now = stamp(w.c->node, w.c->node->now_us);
	int gone = ST_OK;
	bool on = true;
	for (size_t i = 0; on && i < (size_t)w.count * w.nfields; i++) {
		const dcgmGroupEntityPair_t *p = &w.list[i / w.nfields];
		uint16_t id = w.fields[i % w.nfields];
		Entity *e = engine_entity(w.c->node, p->entityGroupId, p->entityId);
		Value *v;
		int64_t n;
		if (!e || (gcb && p->entityGroupId != EG_GPU))
			continue;
		int st = engine_since(w.c->node, e, field_by_id(id), from, &v, &n);
		if (st != ST_OK && st != ST_NOT_WATCHED && gone == ST_OK)
			gone = st; /* the others are given, then the call says so */
		if (st == ST_OK && n > 0) {
			conn_pause(w.c);
			on = give(p, id, v, n, cb, gcb, user);
			rc = conn_resume(w.c);
		}
		free(v);
		if (rc != ST_OK) {
			free(w.list);
			conn_drop(w.c);
			return rc;
		}
	}
	conn_leave(w.c);
	if (next)
		*next = now + 1;
	free(w.list);
	return gone;
}

EXPORT dcgmReturn_t dcgmGetValuesSince(
	dcgmHandle_t h, dcgmGpuGrp_t g, dcgmFieldGrp_t f, int64_t from, int64_t *next, gpu_cb cb, void *user)
{
	CALL(dcgmGetValuesSince);
	return since(h, g, f, from, next, NULL, cb, user);
}

EXPORT dcgmReturn_t dcgmGetValuesSince_v2(
	dcgmHandle_t h, dcgmGpuGrp_t g, dcgmFieldGrp_t f, int64_t from, int64_t *next, group_cb cb, void *user)
{
	CALL(dcgmGetValuesSince_v2);
	return since(h, g, f, from, next, cb, NULL, user);
}
