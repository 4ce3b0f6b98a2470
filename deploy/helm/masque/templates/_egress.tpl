{{/* A rule of egress. Takes `rule` with its ports and peers, and `protocols`, TCP unless set. */}}
{{- define "masque.egress" -}}
- ports:
    {{- $rule := .rule }}
    {{- range $protocol := .protocols | default (list "TCP") }}
    {{- range $rule.ports }}
    - { protocol: {{ $protocol }}, port: {{ . }} }
    {{- end }}
    {{- end }}
  {{- with $rule.to }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}
