{{/* Names and labels. */}}

{{- define "masque.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* At most 40 characters, so that the names that are made from it have at most 63. */}}
{{- define "masque.fullname" -}}
{{- $name := include "masque.name" . -}}
{{- $full := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) -}}
{{- .Values.fullnameOverride | default $full | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "masque.selectorLabels" -}}
app.kubernetes.io/name: {{ include "masque.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* The pods of hosts; the Job of migrations has another component, so that no service sends it requests. */}}
{{- define "masque.hostLabels" -}}
{{ include "masque.selectorLabels" . }}
app.kubernetes.io/component: host
{{- end -}}

{{- define "masque.labels" -}}
{{ include "masque.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end -}}

{{- define "masque.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "masque.fullname" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{- define "masque.image" -}}
{{- $image := .Values.image -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $image.repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $image.repository ($image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{/* The port of the service, unless a value names one. */}}
{{- define "masque.servicePort" -}}
{{- .Values.service.port | default (eq .Values.tls.mode "pod" | ternary 443 80) -}}
{{- end -}}

{{/* Whether a secret of the values is set: not empty if so. */}}
{{- define "masque.hasSecret" -}}
{{- if or .existingSecret .value -}}true{{- end -}}
{{- end -}}
