// Package web holds the pages that the http server serves, and what they load.
// They are plain HTML, CSS and ES modules: building them takes nothing but Go.
package web

import "embed"

// Pages holds pages (one HTML file for each) and assets (what pages load from
// /assets/).
//
//go:embed pages assets
var Pages embed.FS
