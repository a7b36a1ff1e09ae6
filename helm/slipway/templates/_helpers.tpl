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

{{- define "slipway.fetcherImage" -}}
{{- .Values.fetcher.image | default (printf "%s/slipway/fetcher:%s" .Values.image.registry .Chart.AppVersion) -}}
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

{{- /* Pods of ours pass the restricted Pod Security Standard. */ -}}
{{- define "slipway.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "slipway.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- /* A token of an hour, which the kubelet renews, in place of what every pod of the account would get. */ -}}
{{- define "slipway.tokenVolume" -}}
- name: token
  projected:
    sources:
      - serviceAccountToken: {path: token, expirationSeconds: 3600}
      - configMap: {name: kube-root-ca.crt, items: [{key: ca.crt, path: ca.crt}]}
      - downwardAPI: {items: [{path: namespace, fieldRef: {fieldPath: metadata.namespace}}]}
{{- end }}

{{- define "slipway.tokenMount" -}}
- name: token
  mountPath: /var/run/secrets/kubernetes.io/serviceaccount
  readOnly: true
{{- end }}

{{- /* Not those of the operator: its Service, budget and policies do not select the test. */ -}}
{{- define "slipway.testLabels" -}}
app.kubernetes.io/name: slipway-selftest
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/part-of: slipway
{{- end }}

{{- /* The model server's image is a model, too: every cluster that runs models has it, and a node that runs one, already. */ -}}
{{- define "slipway.testSpec" -}}
{{- $model := dict "uri" (.Values.test.modelUri | default (printf "oci://%s" (include "slipway.servingImage" .))) -}}
{{- with .Values.test.format }}{{ $_ := set $model "format" . }}{{ end -}}
{{- dict "model" $model "server" .Values.test.server | toJson -}}
{{- end }}

{{- /* Which Helm release an object in the cluster belongs to: "NAME in NAMESPACE"; empty: this one, or the object is not there. */ -}}
{{- define "slipway.otherOwner" -}}
{{- $metadata := dig "metadata" dict .object -}}
{{- $owner := dig "annotations" "meta.helm.sh/release-name" "" $metadata -}}
{{- $namespace := dig "annotations" "meta.helm.sh/release-namespace" "" $metadata -}}
{{- if and .object (or (ne $owner .release.Name) (ne $namespace .release.Namespace)) -}}
{{- if $owner -}}the Helm release {{ $owner }} in namespace {{ $namespace }}{{- else -}}no Helm release{{- end -}}
{{- end -}}
{{- end }}
