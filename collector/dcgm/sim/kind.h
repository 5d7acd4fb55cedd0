/* kind.h: how the files that compute values say what they found. */
#ifndef WLSIM_KIND_H
#define WLSIM_KIND_H

#include "wlsim.h"

#include <stdio.h>

/* BLANKED: the hardware has no such value. NONE: there is none yet. Otherwise the type of what was found. */
typedef enum { BLANKED, INT, DBL, STR, NONE } Kind;

static inline Kind str(Value *v, const char *text)
{
	snprintf(v->str, sizeof v->str, "%s", text);
	return STR;
}

static inline Kind num(Value *v, int64_t x)
{
	v->i64 = x;
	return INT;
}

static inline Kind dbl(Value *v, double x)
{
	v->dbl = x;
	return DBL;
}

static inline Kind watts(Value *v, int64_t mw)
{
	return dbl(v, (double)mw / 1000.0);
}

#pragma GCC visibility push(hidden)

/* identity.c */
Kind identity(const Entity *e, const dcgm_field_meta_t *m, Value *v);
Kind memory(const Entity *e, const dcgm_field_meta_t *m, const Snap *c, Value *v);

#pragma GCC visibility pop

#endif
