{{- define "slipway.labels" -}}
{{ include "slipway.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: slipway
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "slipway.selector" -}}
app.kubernetes.io/name: slipway-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "slipway.operatorImage" -}}
{{- with .Values.image -}}
{{ .registry }}/{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}{{ with .digest }}@{{ . }}{{ end }}
{{- end -}}
{{- end }}

{{- define "slipway.servingImage" -}}
{{- .Values.serving.image | default (printf "%s/slipway/serving:%s" .Values.image.registry .Chart.AppVersion) -}}
{{- end }}

{{- define "slipway.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{ .Values.serviceAccount.name | default "slipway-operator" }}
{{- else -}}
{{ .Values.serviceAccount.name | default "default" }}
{{- end -}}
{{- end }}

{{- define "slipway.gateway" -}}
{{- if .Values.gateway.create -}}
{{ .Release.Namespace }}/slipway
{{- else -}}
{{ .Values.gateway.reference }}
{{- end -}}
{{- end }}
