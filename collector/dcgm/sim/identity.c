/* identity.c: fields that say what a device is and how much memory it has. */
#include "kind.h"

Kind identity(const Entity *e, const dcgm_field_meta_t *m, Value *v)
{
	const Device *d = e->dev;
	const Model *md = d->model;
	switch (m->fieldId) {
	case 50:
		if (e->inst < 0)
			return str(v, md->title);
		instance_name(d, &d->inst[e->inst], e->group == EG_GPU_CI, v->str, sizeof v->str);
		return STR;
	case 51:
		return str(v, md->brand);
	case 52:
		return num(v, d->index);
	case 53:
		return str(v, d->serial);
	case 54:
		return str(v, e->inst < 0 ? d->uuid : d->inst[e->inst].uuid);
	case 55:
		return num(v, gpu_minor(d));
	case 57:
		gpu_pci(d, v->str, sizeof v->str);
		return STR;
	case 58:
		return num(v, (int64_t)md->pci_device << 16 | 0x10de);
	case 59:
		return num(v, 0x10de1000);
	case 63:
		return num(v, md->compute_capability);
	case 65:
		return num(v, 0);
	case 66:
		return num(v, 1);
	case 67:
		return num(v, d->ninst > 0);
	case 68:
		return str(v, e->inst < 0 ? d->uuid : d->inst[e->inst].uuid);
	case 69:
		return md->arch >= 7 ? num(v, SLICES) : BLANKED;
	case 74:
		return num(v, 0);
	case 82:
		return str(v, "G525.0225.00.05");
	case 85:
		return str(v, "97.00.9A.00.0F");
	case 94:
		return num(v, md->arch >= 9);
	case 571:
		return str(v, "0x0000000000000000");
	case 572:
		return md->grace ? str(v, "1820325190000") : BLANKED;
	case 573:
	case 574:
	case 575:
		return md->grace ? num(v, m->fieldId == 575 ? 1 : (int64_t)(d->node->seed % 18)) : BLANKED;
	case 576:
		return md->nvlinks ? num(v, 1) : BLANKED;
	case 577:
		return num(v, d->index + 1);
	}
	return BLANKED;
}

Kind memory(const Entity *e, const dcgm_field_meta_t *m, const Snap *c, Value *v)
{
	const Device *d = e->dev;
	int64_t total = d->model->fb_mib;
	if (e->inst >= 0)
		total = total * d->inst[e->inst].mem_slices / 8;
	int64_t reserved = total / 200 + 1, used = (total - reserved) * c->fb_ppm / PPM;
	switch (m->fieldId) {
	case 250:
		return num(v, total);
	case 251:
		return num(v, total - reserved - used);
	case 252:
		return num(v, used);
	case 253:
		return num(v, reserved);
	case 254:
		return dbl(v, (double)used / (double)(total - reserved));
	case 90:
		return num(v, 262144);
	case 92:
		return num(v, 1);
	case 93:
		return num(v, 262143);
	}
	return BLANKED;
}
