{{/* Writes values as TOML. A table is written as `[a."b"]`; tables in lists are written inline. */}}

{{- define "masque.tomlKey" -}}
{{- if regexMatch "^[A-Za-z0-9_-]+$" . -}}{{ . }}{{- else -}}{{ toJson . }}{{- end -}}
{{- end -}}

{{/* A value that is no table of its own. Numbers of values are floats; whole ones are written as integers. */}}
{{- define "masque.tomlValue" -}}
{{- if kindIs "map" . -}}
{ {{- $first := true -}}
{{- range $key, $value := . -}}
{{- if not (kindIs "invalid" $value) -}}
{{- if not $first -}},{{- end }} {{ include "masque.tomlKey" $key }} = {{ include "masque.tomlValue" $value }}
{{- $first = false -}}
{{- end -}}
{{- end }} }
{{- else if kindIs "slice" . -}}
[
{{- range $index, $value := . -}}
{{- if $index -}}, {{ end -}}{{- include "masque.tomlValue" $value -}}
{{- end -}}
]
{{- else if and (kindIs "float64" .) (eq (floor .) .) -}}
{{- printf "%d" (int64 .) -}}
{{- else -}}
{{- toJson . -}}
{{- end -}}
{{- end -}}

{{/* A table and those in it. Takes `path`, the name as it is written, and `table`. */}}
{{- define "masque.tomlTable" -}}
{{- $path := .path -}}
{{- $lines := list -}}
{{- $tables := "" -}}
{{- range $key, $value := .table -}}
{{- if kindIs "map" $value -}}
{{- $below := printf "%s.%s" $path (include "masque.tomlKey" $key) -}}
{{- $tables = print $tables (include "masque.tomlTable" (dict "path" $below "table" $value)) -}}
{{- else if not (kindIs "invalid" $value) -}}
{{- $lines = append $lines (printf "%s = %s" (include "masque.tomlKey" $key) (include "masque.tomlValue" $value)) -}}
{{- end -}}
{{- end -}}
{{- if or $lines (not $tables) }}
[{{ $path }}]
{{ range $lines -}}
{{ . }}
{{ end -}}
{{- end -}}
{{ $tables }}
{{- end -}}

{{- define "masque.toml" -}}
{{- range $section, $table := . -}}
{{- if not (kindIs "invalid" $table) -}}
{{- include "masque.tomlTable" (dict "path" (include "masque.tomlKey" $section) "table" $table) -}}
{{- end -}}
{{- end -}}
{{- end -}}
