{{/* The pod of a host, the same in the Deployment and the StatefulSet. */}}

{{- define "masque.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: {{ .Values.runAsUser }}
runAsGroup: {{ .Values.runAsGroup }}
fsGroup: {{ .Values.runAsGroup }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "masque.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* A variable from a secret of the values. Takes `name`, `secret` and the name of the chart's own Secret, `own`. */}}
{{- define "masque.secretVariable" -}}
- name: {{ .name }}
  valueFrom:
    secretKeyRef:
      name: {{ .secret.existingSecret | default .own }}
      key: {{ .secret.key }}
{{- end -}}

{{/* DATABASE_URL and DATABASE_DIRECT_URL. Takes the values and the name of the chart's own Secret. */}}
{{- define "masque.databaseVariables" -}}
{{ include "masque.secretVariable" (dict "name" "DATABASE_URL" "secret" .values.secrets.database "own" .own) }}
{{- if include "masque.hasSecret" .values.secrets.databaseDirect }}
{{ include "masque.secretVariable" (dict "name" "DATABASE_DIRECT_URL" "secret" .values.secrets.databaseDirect "own" .own) }}
{{- end }}
{{- end -}}

{{/* A probe. Takes the values, `path` and `port`. */}}
{{- define "masque.probe" -}}
httpGet:
  path: {{ .path }}
  port: {{ .port }}
  scheme: {{ eq .values.tls.mode "pod" | ternary "HTTPS" "HTTP" }}
{{- end -}}

{{- define "masque.pod" -}}
{{- $fullname := include "masque.fullname" . -}}
{{- $values := .Values -}}
{{- $postgres := eq $values.store "postgres" -}}
metadata:
  labels:
    {{- include "masque.hostLabels" . | nindent 4 }}
    {{- with $values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    # Hosts start again when settings change that they read only then; of other changes they learn by themselves.
    masque/restart: {{ include "masque.restartDigest" . }}
    {{- with $values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "masque.serviceAccountName" . }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ include "masque.terminationGracePeriodSeconds" . }}
  securityContext:
    {{- include "masque.podSecurityContext" . | nindent 4 }}
  {{- with $values.image.pullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . }}
    {{- end }}
  {{- end }}
  containers:
    - name: masque
      image: {{ include "masque.image" . }}
      imagePullPolicy: {{ $values.image.pullPolicy }}
      command: [masque, serve]
      env:
        - name: ENVIRONMENT
          value: {{ $values.environment }}
        - name: MASQUE_CONFIG
          value: /etc/masque/masque.toml
        {{- if $postgres }}
        {{- include "masque.databaseVariables" (dict "values" $values "own" $fullname) | nindent 8 }}
        {{- end }}
        {{- if include "masque.hasSecret" $values.secrets.redis }}
        {{- include "masque.secretVariable" (dict "name" "REDIS_URL" "secret" $values.secrets.redis "own" $fullname) | nindent 8 }}
        {{- end }}
        {{- with $values.extraEnv }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      ports:
        - name: http
          containerPort: 8000
        - name: admin
          containerPort: 9000
      # A host answers /livez as soon as it runs, also while it waits for its database.
      startupProbe:
        {{- include "masque.probe" (dict "values" $values "path" "/livez" "port" "admin") | nindent 8 }}
        periodSeconds: 2
        timeoutSeconds: 3
        failureThreshold: 60
      # The admin port has connections of its own: a host whose main port is full is busy, and must not be killed.
      livenessProbe:
        {{- include "masque.probe" (dict "values" $values "path" "/livez" "port" "admin") | nindent 8 }}
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 6
      readinessProbe:
        {{- include "masque.probe" (dict "values" $values "path" "/readyz" "port" "http") | nindent 8 }}
        periodSeconds: 2
        timeoutSeconds: 3
        failureThreshold: 2
      resources:
        {{- toYaml $values.resources | nindent 8 }}
      securityContext:
        {{- include "masque.containerSecurityContext" . | nindent 8 }}
      volumeMounts:
        - { name: config, mountPath: /etc/masque, readOnly: true }
        - { name: data, mountPath: /var/lib/masque }
        {{- if or (include "masque.hasSecret" $values.secrets.jwt) $values.credentials }}
        - { name: secrets, mountPath: /etc/masque-secrets, readOnly: true }
        {{- end }}
        {{- if eq $values.tls.mode "pod" }}
        - { name: tls, mountPath: /etc/masque-tls, readOnly: true }
        {{- end }}
        {{- range $index, $name := $values.cardConfigMaps }}
        - { name: cards-{{ $index }}, mountPath: /etc/masque-cards/{{ $name }}, readOnly: true }
        {{- end }}
        {{- if or $values.plugins.configMaps $values.plugins.volume }}
        - { name: plugins, mountPath: /var/lib/masque/plugins, readOnly: true }
        {{- end }}
        {{- if and $postgres (not $values.erasures.discard) }}
        - { name: erasures, mountPath: /var/lib/masque-erasures }
        {{- end }}
        {{- with $values.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
  volumes:
    {{- include "masque.volumes" . | nindent 4 }}
  {{- with $values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with $values.topologySpreadConstraints }}
  topologySpreadConstraints:
    {{- range . }}
    - {{ toYaml . | nindent 6 | trim }}
      labelSelector:
        matchLabels:
          {{- include "masque.hostLabels" $ | nindent 10 }}
      {{- if $postgres }}
      matchLabelKeys: [pod-template-hash]
      {{- end }}
    {{- end }}
  {{- end }}
{{- end -}}

{{/* Each projected volume is replaced as a whole when one of its parts changes, and the host applies it as a whole. */}}
{{- define "masque.volumes" -}}
{{- $fullname := include "masque.fullname" . -}}
{{- $values := .Values -}}
{{- $postgres := eq $values.store "postgres" -}}
- name: config
  projected:
    defaultMode: 0444
    sources:
      - configMap:
          name: {{ $fullname }}
          items:
            - { key: masque.toml, path: masque.toml }
      {{- with $values.cards }}
      - configMap:
          name: {{ $fullname }}-cards
          items:
            {{- range $name, $_ := . }}
            - { key: {{ $name | quote }}, path: {{ printf "cards/%s" $name | quote }} }
            {{- end }}
      {{- end }}
{{- if or (include "masque.hasSecret" $values.secrets.jwt) $values.credentials }}
- name: secrets
  projected:
    defaultMode: 0440
    sources:
      {{- with $values.secrets.jwt }}
      {{- if include "masque.hasSecret" . }}
      - secret:
          name: {{ .existingSecret | default $fullname }}
          items:
            - { key: {{ .key }}, path: jwt }
      {{- end }}
      {{- end }}
      {{- range $name, $credential := $values.credentials }}
      - secret:
          name: {{ $credential.existingSecret }}
          items:
            - { key: {{ $credential.key }}, path: credentials/{{ $name }} }
      {{- end }}
{{- end }}
{{- if eq $values.tls.mode "pod" }}
- name: tls
  secret:
    secretName: {{ $values.tls.existingSecret }}
    defaultMode: 0440
{{- end }}
{{- range $index, $name := $values.cardConfigMaps }}
- name: cards-{{ $index }}
  configMap:
    name: {{ $name }}
    defaultMode: 0444
{{- end }}
{{- if $values.plugins.configMaps }}
- name: plugins
  projected:
    defaultMode: 0444
    sources:
      {{- range $values.plugins.configMaps }}
      - configMap:
          name: {{ . }}
      {{- end }}
{{- else if $values.plugins.volume }}
- name: plugins
  {{- toYaml $values.plugins.volume | nindent 2 }}
{{- end }}
{{- if $postgres }}
- name: data
  emptyDir:
    sizeLimit: {{ $values.data.emptyDirSize }}
{{- if not $values.erasures.discard }}
- name: erasures
  persistentVolumeClaim:
    claimName: {{ $values.erasures.existingClaim | default (printf "%s-erasures" $fullname) }}
{{- end }}
{{- end }}
{{- with $values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}
