{{/* The configuration file: `config`, and what belongs to the cluster, as YAML. */}}
{{- define "masque.config" -}}
{{- $own := dict
    "server" (dict "listen" "0.0.0.0:8000")
    "admin" (dict "listen" "0.0.0.0:9000")
    "data" (dict "folder" "/var/lib/masque")
-}}
{{- $idle := include "masque.idleSeconds" . -}}
{{- if and $idle (not (dig "server" "header_timeout" "" .Values.config)) -}}
{{- $_ := set $own.server "header_timeout" (printf "%ss" $idle) -}}
{{- end -}}
{{- if include "masque.hasSecret" .Values.secrets.jwt -}}
{{- $_ := set $own "auth" (dict "secret_file" "/etc/masque-secrets/jwt") -}}
{{- end -}}
{{- if eq .Values.tls.mode "pod" -}}
{{- $_ := set $own "tls" (dict "certificate" "/etc/masque-tls/tls.crt" "key" "/etc/masque-tls/tls.key") -}}
{{- end -}}
{{- if eq .Values.store "postgres" -}}
{{- $revision := .Values.activeSetRevision -}}
{{- $_ := set $own "active_set" (dict "revision" (eq (toString $revision) "release" | ternary .Release.Revision $revision)) -}}
{{- if not .Values.erasures.discard -}}
{{- $_ := set $own "erasure" (dict "list" "/var/lib/masque-erasures/erasures.jsonl") -}}
{{- end -}}
{{- end -}}
{{- $credentials := dict -}}
{{- range $name, $credential := .Values.credentials -}}
{{- $file := printf "/etc/masque-secrets/credentials/%s" $name -}}
{{- $_ := set $credentials $name (dict "origin" $credential.origin "header" $credential.header "value_file" $file) -}}
{{- end -}}
{{- if $credentials -}}
{{- $_ := set $own "credentials" $credentials -}}
{{- end -}}
{{- mergeOverwrite (deepCopy .Values.config) $own | toYaml -}}
{{- end -}}

{{/* A digest of what hosts read at their start only. Of a change elsewhere, running hosts learn by themselves. */}}
{{- define "masque.restartDigest" -}}
{{- $config := include "masque.config" . | fromYaml -}}
{{- $_ := set $config "log" (omit $config.log "level") -}}
{{- omit $config "companions" "plugins" "credentials" "active_set" | toJson | sha256sum -}}
{{- end -}}

{{/* Refuses values that fit the schema and not each other. */}}
{{- define "masque.requirements" -}}
{{- $values := .Values -}}
{{- if not $values.image.repository -}}
{{- fail "image.repository is missing: name the repository of the image." -}}
{{- end -}}
{{- $issuers := dig "auth" "issuers" dict $values.config -}}
{{- if not (or (include "masque.hasSecret" $values.secrets.jwt) $issuers) -}}
{{- fail "Nobody could authenticate: set secrets.jwt.existingSecret, or an identity provider in config.auth.issuers." -}}
{{- end -}}
{{- $strict := has $values.environment (list "production" "staging") -}}
{{- if and $strict (eq $values.tls.mode "none") -}}
{{- fail "tls.mode is none, which production and staging refuse: set it to ingress or pod." -}}
{{- end -}}
{{- if and $strict (eq $values.tls.mode "ingress") (not (dig "server" "trusted_proxies" list $values.config)) -}}
{{- fail "config.server.trusted_proxies is missing: name the network of the pods of the ingress, such as [\"10.42.0.0/16\"]." -}}
{{- end -}}
{{- if and (eq $values.tls.mode "pod") (not $values.tls.existingSecret) -}}
{{- fail "tls.existingSecret is missing: name a Secret of the type kubernetes.io/tls." -}}
{{- end -}}
{{- if and $values.ingress.enabled (not $values.ingress.hosts) -}}
{{- fail "ingress.hosts is missing." -}}
{{- end -}}
{{- if and $values.ingress.enabled $strict (not $values.ingress.tlsSecret) (ne $values.ingress.controller "alb") -}}
{{- fail "ingress.tlsSecret is missing: clients would send their tokens without encryption." -}}
{{- end -}}
{{- if and $values.plugins.configMaps $values.plugins.volume -}}
{{- fail "plugins.configMaps and plugins.volume are both set: the plugins folder is one of them." -}}
{{- end -}}
{{- if eq $values.store "postgres" -}}
{{- if not (include "masque.hasSecret" $values.secrets.database) -}}
{{- fail "secrets.database is missing: `store: postgres` needs DATABASE_URL." -}}
{{- end -}}
{{- $erasures := $values.erasures -}}
{{- if not (or $erasures.existingClaim $erasures.size $erasures.discard) -}}
{{- fail "The erasure list would end with its pod: set erasures.existingClaim or erasures.size, or confirm it by erasures.discard." -}}
{{- end -}}
{{- else -}}
{{- if $values.autoscaling.enabled -}}
{{- fail "autoscaling.enabled needs `store: postgres`: only one host can use an SQLite database." -}}
{{- end -}}
{{- if include "masque.hasSecret" $values.secrets.database -}}
{{- fail "secrets.database needs `store: postgres`." -}}
{{- end -}}
{{- end -}}
{{- if and $values.serviceMonitor.enabled (eq $values.tls.mode "pod") (not $values.serviceMonitor.tlsConfig) -}}
{{- fail "serviceMonitor.tlsConfig is missing: Prometheus scrapes by address, so name the serverName of the certificate, or set insecureSkipVerify." -}}
{{- end -}}
{{- end -}}
