package entsoe

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"time"

	"github.com/wattledger/wattledger/aggregator/carbon/provider"
	"github.com/wattledger/wattledger/schemas/unit"
)

// quarter is the finest step there is; coarser ones are spread over it.
const quarter = 15 * 60 * unit.Second

// steps are the resolutions of a period, in quarters.
var steps = map[string]unit.Micros{"PT15M": 1, "PT30M": 2, "PT60M": 4, "PT1H": 4}

// flow is one production type in one direction: what it generates, or what it takes.
type flow struct {
	psr      string
	consumes bool
}

// generation is kW by flow and quarter of an hour.
type generation map[flow]map[unit.Micros]int64

// document is a GL_MarketDocument, or an Acknowledgement_MarketDocument, whose root tells which.
type document struct {
	XMLName xml.Name
	Reason  []struct {
		Code string `xml:"code"`
		Text string `xml:"text"`
	} `xml:"Reason"`
	Series []struct {
		In     string `xml:"inBiddingZone_Domain.mRID"`
		Out    string `xml:"outBiddingZone_Domain.mRID"`
		Unit   string `xml:"quantity_Measure_Unit.name"`
		Curve  string `xml:"curveType"`
		Type   string `xml:"MktPSRType>psrType"`
		Period []struct {
			Start      string `xml:"timeInterval>start"`
			End        string `xml:"timeInterval>end"`
			Resolution string `xml:"resolution"`
			Point      []struct {
				Position int    `xml:"position"`
				Quantity string `xml:"quantity"`
			} `xml:"Point"`
		} `xml:"Period"`
	} `xml:"TimeSeries"`
}

// noData is the reason code of an answer without data.
const noData = "999"

// maxPeriod bounds a period: a year, which is what a query may span.
const maxPeriod = 367 * 24 * unit.Hour

// parse adds what a document says of an area to g. Quarters outside [from, to) are left out.
func parse(body []byte, area string, from, to unit.Micros, g generation) error {
	var d document
	if err := xml.NewDecoder(bytes.NewReader(body)).Decode(&d); err != nil {
		return err
	}
	switch d.XMLName.Local {
	case "Acknowledgement_MarketDocument":
		if len(d.Reason) == 0 {
			return errors.New("it is an acknowledgement without a reason")
		}
		if d.Reason[0].Code == noData {
			return nil
		}
		return fmt.Errorf("reason %.10q: %.200q", d.Reason[0].Code, d.Reason[0].Text)
	case "GL_MarketDocument":
	default:
		return fmt.Errorf("it is a %.60q, not a GL_MarketDocument", d.XMLName.Local)
	}
	for i, s := range d.Series {
		fl := flow{s.Type, s.Out != ""}
		switch {
		case (s.In == "") == (s.Out == ""):
			return fmt.Errorf("series %d has both or neither of in and out domain", i+1)
		case s.In+s.Out != area:
			return fmt.Errorf("series %d is of area %.40q, not %s", i+1, s.In+s.Out, area)
		case s.Unit != "MAW":
			return fmt.Errorf("series %d is in %.20q, not in MAW", i+1, s.Unit)
		case s.Curve != "A01" && s.Curve != "A03":
			return fmt.Errorf("series %d has curve type %.10q, neither A01 nor A03", i+1, s.Curve)
		case s.Type == "":
			return fmt.Errorf("series %d has no production type", i+1)
		}
		if g[fl] == nil {
			g[fl] = map[unit.Micros]int64{}
		}
		for _, p := range s.Period {
			start, err1 := instant(p.Start)
			end, err2 := instant(p.End)
			step := steps[p.Resolution] * quarter
			switch {
			case err1 != nil || err2 != nil || start%quarter != 0 || end <= start || end-start > maxPeriod:
				return fmt.Errorf("series %d has a period from %.40q to %.40q", i+1, p.Start, p.End)
			case step == 0 || (end-start)%step != 0:
				return fmt.Errorf("series %d has a period from %s to %s in steps of %.20q", i+1, p.Start, p.End, p.Resolution)
			}
			count := int((end - start) / step)
			for k, pt := range p.Point {
				kw, err := provider.Scaled(pt.Quantity, 3)
				last := pt.Position // of the positions that the point stands for
				if s.Curve == "A03" {
					last = count // a point stands until the next one
					if k+1 < len(p.Point) {
						last = p.Point[k+1].Position - 1
					}
				}
				switch {
				case err != nil:
					return fmt.Errorf("series %d, position %d: %w", i+1, pt.Position, err)
				case kw < -maxKW || kw > maxKW:
					return fmt.Errorf("series %d, position %d: %s MW is more than a continent draws", i+1, pt.Position, pt.Quantity)
				case pt.Position < 1 || last < pt.Position || last > count:
					return fmt.Errorf("series %d: position %d is out of order, or beyond the %d of its period", i+1, pt.Position, count)
				}
				for t := start + unit.Micros(pt.Position-1)*step; t < start+unit.Micros(last)*step; t += quarter {
					if t < from || t >= to {
						continue
					}
					if _, twice := g[fl][t]; twice {
						return fmt.Errorf("series %d: %s of %s stands twice", i+1, fl.psr, t.Time().Format(time.RFC3339))
					}
					g[fl][t] = kw
				}
			}
		}
	}
	return nil
}

// maxKW is 2 TW.
const maxKW = 2_000_000_000

func instant(text string) (unit.Micros, error) {
	t, err := time.Parse("2006-01-02T15:04Z07:00", text)
	if err != nil {
		t, err = time.Parse(time.RFC3339, text)
	}
	return unit.MicrosOf(t), err
}
