package wire

import (
	"encoding/hex"

	"github.com/wattledger/wattledger/schemas/record"
	"github.com/wattledger/wattledger/schemas/unit"
	wl "github.com/wattledger/wattledger/schemas/wire/wattledger/v1"
)

// AllocationOf is the record a message holds.
func AllocationOf(a *wl.Allocation) record.Allocation {
	return record.Allocation{
		ID: a.GetAllocationId(), Device: a.GetDeviceUuid(), Share: unit.Thousandths(a.GetThousandths()),
		Start: unit.Micros(a.GetStartUs()), End: unit.Micros(a.GetEndUs()),
		Tenant: a.GetTenant(), Project: a.GetProject(), Workload: a.GetWorkload(), ModelID: a.GetModelId(),
		Purpose: a.GetPurpose(), Scheduler: a.GetSchedulerRef(), Revision: a.GetRevision(),
	}
}

// AllocationTo is the message for a record.
func AllocationTo(a record.Allocation) *wl.Allocation {
	return &wl.Allocation{
		AllocationId: a.ID, DeviceUuid: a.Device, Thousandths: uint32(a.Share), StartUs: int64(a.Start), EndUs: int64(a.End),
		Tenant: a.Tenant, Project: a.Project, Workload: a.Workload, ModelId: a.ModelID, Purpose: a.Purpose,
		SchedulerRef: a.Scheduler, Revision: a.Revision,
	}
}

// DeviceOf is the record a message holds.
func DeviceOf(d *wl.Device) record.Device {
	return record.Device{
		UUID: d.GetUuid(), Parent: d.GetParentUuid(), Node: d.GetNode(), Kind: record.DeviceKind(d.GetKind()),
		Model: d.GetModel(), Serial: d.GetSerial(), Driver: d.GetDriver(), VBIOS: d.GetVbios(), Index: d.GetIndex(), Slices: d.GetSlices(),
		Energy: record.EnergySource(d.GetEnergySource()), LimitMilliwatts: unit.Milliwatts(d.GetLimitMw()),
		IdleMilliwatts: unit.Milliwatts(d.GetIdleMw()), From: unit.Micros(d.GetFromUs()), To: unit.Micros(d.GetToUs()),
	}
}

// DeviceTo is the message for a record.
func DeviceTo(d record.Device) *wl.Device {
	return &wl.Device{
		Uuid: d.UUID, ParentUuid: d.Parent, Node: d.Node, Kind: wl.DeviceKind(d.Kind), Model: d.Model, Serial: d.Serial,
		Driver: d.Driver, Vbios: d.VBIOS, Index: d.Index, Slices: d.Slices, EnergySource: wl.EnergySource(d.Energy),
		LimitMw: int64(d.LimitMilliwatts), IdleMw: int64(d.IdleMilliwatts), FromUs: int64(d.From), ToUs: int64(d.To),
	}
}

// SiteOf is the record a message holds.
func SiteOf(s *wl.Site) record.Site {
	return record.Site{
		ID: s.GetId(), Country: s.GetCountry(), Zone: s.GetZone(), Operator: s.GetOperator(),
		OperatorCountry: s.GetOperatorCountry(), PUEThousandths: int64(s.GetPueThousandths()), AllocationSource: s.GetAllocationSource(),
		ReadingSource: s.GetReadingSource(),
	}
}

// SiteTo is the message for a record.
func SiteTo(s record.Site) *wl.Site {
	return &wl.Site{
		Id: s.ID, Country: s.Country, Zone: s.Zone, Operator: s.Operator, OperatorCountry: s.OperatorCountry,
		PueThousandths: uint32(s.PUEThousandths), AllocationSource: s.AllocationSource, ReadingSource: s.ReadingSource,
	}
}

// NodeOf is the record a message holds.
func NodeOf(n *wl.Node) record.Node {
	return record.Node{
		ID: n.GetId(), Site: n.GetSite(), Rack: n.GetRack(), Model: n.GetModel(),
		RestMilliwatts: unit.Milliwatts(n.GetRestMw()), From: unit.Micros(n.GetFromUs()), To: unit.Micros(n.GetToUs()),
	}
}

// NodeTo is the message for a record.
func NodeTo(n record.Node) *wl.Node {
	return &wl.Node{
		Id: n.ID, Site: n.Site, Rack: n.Rack, Model: n.Model, RestMw: int64(n.RestMilliwatts), FromUs: int64(n.From), ToUs: int64(n.To),
	}
}

// TenantOf is the record a message holds.
func TenantOf(t *wl.Tenant) record.Tenant {
	return record.Tenant{
		ID: t.GetId(), Name: t.GetName(), Sector: t.GetSector(), SizeClass: t.GetSizeClass(), Country: t.GetCountry(),
		VATID: t.GetVatId(), AllowedCountries: t.GetAllowedCountries(),
	}
}

// TenantTo is the message for a record.
func TenantTo(t record.Tenant) *wl.Tenant {
	return &wl.Tenant{
		Id: t.ID, Name: t.Name, Sector: t.Sector, SizeClass: t.SizeClass, Country: t.Country, VatId: t.VATID,
		AllowedCountries: t.AllowedCountries,
	}
}

// StayOf is the record a message holds.
func StayOf(s *wl.Stay) record.Stay {
	return record.Stay{
		Site: s.GetSite(), Node: s.GetNode(), Device: s.GetDeviceUuid(), From: unit.Micros(s.GetFromUs()), To: unit.Micros(s.GetToUs()), Reason: s.GetReason(),
	}
}

// StayTo is the message for a record.
func StayTo(s record.Stay) *wl.Stay {
	return &wl.Stay{Site: s.Site, Node: s.Node, DeviceUuid: s.Device, FromUs: int64(s.From), ToUs: int64(s.To), Reason: s.Reason}
}

// IncidentOf is the record a message holds.
func IncidentOf(i *wl.Incident) record.Incident {
	return record.Incident{
		Kind: record.IncidentKind(i.GetKind()), Reason: i.GetReason(), Device: i.GetDeviceUuid(), From: unit.Micros(i.GetFromUs()),
		To: unit.Micros(i.GetToUs()), Amount: i.GetAmount(), Run: hex.EncodeToString(i.GetRun()), First: i.GetFirstSequence(), Last: i.GetLastSequence(),
	}
}

// IncidentTo is the message for a record. A run that is not hex is left out.
func IncidentTo(i record.Incident) *wl.Incident {
	run, err := hex.DecodeString(i.Run)
	if err != nil || len(run) == 0 {
		run = nil
	}
	return &wl.Incident{
		Kind: string(i.Kind), Reason: i.Reason, DeviceUuid: i.Device, FromUs: int64(i.From), ToUs: int64(i.To), Amount: i.Amount,
		Run: run, FirstSequence: i.First, LastSequence: i.Last,
	}
}

// ReadingOf is the record a message holds.
func ReadingOf(r *wl.Reading) record.Reading {
	return record.Reading{
		Meter: r.GetMeter(), Quantity: r.GetQuantity(), Unit: r.GetUnit(), From: unit.Micros(r.GetFromUs()), To: unit.Micros(r.GetToUs()),
		Value: r.GetValue(), Counter: r.GetCounter(), Node: r.GetNode(), Method: r.GetMethod(), Epoch: r.GetEpoch(),
	}
}

// ReadingTo is the message for a record.
func ReadingTo(r record.Reading) *wl.Reading {
	return &wl.Reading{
		Meter: r.Meter, Quantity: r.Quantity, Unit: r.Unit, FromUs: int64(r.From), ToUs: int64(r.To), Value: r.Value,
		Counter: r.Counter, Node: r.Node, Method: r.Method, Epoch: r.Epoch,
	}
}
