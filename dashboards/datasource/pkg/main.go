// Command gpx_wattledger is the backend of the Grafana data source.
package main

import (
	"log"

	_ "github.com/grafana/grafana-plugin-sdk-go/backend/datasource" // what this program will stand on
)

func main() { log.Fatal("not built yet") }
