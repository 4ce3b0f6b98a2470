{{/* The seconds of a duration such as `1500ms`, `15s`, `2m` or `1h`, rounded up. The schema allows no other form. */}}
{{- define "masque.seconds" -}}
{{- $number := regexFind "^[0-9]+" . | int64 -}}
{{- $unit := regexFind "[a-z]+$" . -}}
{{- if eq $unit "ms" -}}
{{- div (add $number 999) 1000 -}}
{{- else -}}
{{- mul $number (get (dict "s" 1 "m" 60 "h" 3600) $unit) -}}
{{- end -}}
{{- end -}}

{{/* The longest time that a host takes to stop: `drain.delay`, `drain.timeout` and 8 s (docs/operators.md, Stopping). */}}
{{- define "masque.stopSeconds" -}}
{{- $drain := .Values.config.drain -}}
{{- add (include "masque.seconds" $drain.delay) (include "masque.seconds" $drain.timeout) 8 -}}
{{- end -}}

{{- define "masque.terminationGracePeriodSeconds" -}}
{{- add (include "masque.stopSeconds" .) .Values.terminationMargin -}}
{{- end -}}

{{/* The longest silence before a reply that is not streamed: a wait for the conversation, and the turn. */}}
{{- define "masque.proxyReadSeconds" -}}
{{- $turn := .Values.config.turn -}}
{{- add (include "masque.seconds" $turn.timeout) (include "masque.seconds" $turn.wait) 10 -}}
{{- end -}}

{{/* How long hosts keep idle connections: longer than the controller of the ingress, which would otherwise send a request over a
connection that the host closes, and answer with 502. ingress-nginx keeps one for 60 s (`upstream-keepalive-timeout`), Traefik for 90 s
(`idleConnTimeout`), an ALB for its idle timeout. Empty with another controller. */}}
{{- define "masque.idleSeconds" -}}
{{- if .Values.ingress.enabled -}}
{{- $alb := add (include "masque.proxyReadSeconds" .) 10 -}}
{{- get (dict "nginx" "70" "traefik" "100" "alb" (toString $alb)) .Values.ingress.controller -}}
{{- end -}}
{{- end -}}
