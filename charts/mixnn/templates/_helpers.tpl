{{/* The operator's names are fixed: policies and bindings in other namespaces know it by them. */}}
{{- define "mixnn.name" -}}mixnn-operator{{- end }}

{{- define "mixnn.labels" -}}
app.kubernetes.io/name: {{ include "mixnn.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "mixnn.selector" -}}
app.kubernetes.io/name: {{ include "mixnn.name" . }}
{{- end }}

{{/* An image, or what to do. */}}
{{- define "mixnn.image" -}}
{{- $name := index . 1 -}}
{{- required (printf "images.%s is empty: give it by digest, as registry/mixnn-%s@sha256:.." $name $name) (index (index . 0).Values.images $name) -}}
{{- end }}

{{/* Labels of the namespaces that read relays' metrics, as the operator takes them. */}}
{{- define "mixnn.metricsReaders" -}}
{{- $labels := list -}}
{{- if not .Values.networkPolicy.monitoring }}{{ fail "relays.metrics: say who reads them, as networkPolicy.monitoring: {team: observability}" }}{{ end -}}
{{- range $key, $value := .Values.networkPolicy.monitoring -}}
{{- $labels = append $labels (printf "%s=%s" $key $value) -}}
{{- end -}}
{{- join "," $labels -}}
{{- end }}

{{- define "mixnn.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "mixnn.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* Of pods that do one thing and end. */}}
{{- define "mixnn.hookResources" -}}
requests: {cpu: 10m, memory: 32Mi, ephemeral-storage: 16Mi}
limits: {cpu: "1", memory: 128Mi, ephemeral-storage: 64Mi}
{{- end }}
