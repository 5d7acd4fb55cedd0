// Package render draws dashboards without Grafana, in a real browser, from their JSON and from what the plugin answered.
//
// The page (src/) lays panels out on Grafana's grid and formats every figure with @grafana/data; BigValue and BarGauge are those of
// @grafana/ui, lines are drawn by uPlot, as Grafana draws them. So a picture proves that the data are there, have the right units and can be
// read. It does not prove Grafana's own panels. Beside the picture, the page measures itself: what is empty, cut off or over something else.
package render
