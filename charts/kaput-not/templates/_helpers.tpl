{{- define "kaput-not.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "kaput-not.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else if contains (include "kaput-not.name" .) .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "kaput-not.name" .) | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "kaput-not.selectorLabels" -}}
app.kubernetes.io/name: {{ include "kaput-not.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "kaput-not.labels" -}}
{{ include "kaput-not.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.labels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "kaput-not.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "kaput-not.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "kaput-not.secretName" -}}
{{- default (include "kaput-not.fullname" .) .Values.netmaker.existingSecret }}
{{- end }}

{{- define "kaput-not.caConfigMap" -}}
{{- if .Values.netmaker.ca.existingConfigMap }}
{{- .Values.netmaker.ca.existingConfigMap }}
{{- else if .Values.netmaker.ca.pem }}
{{- printf "%s-ca" (include "kaput-not.fullname" .) }}
{{- end }}
{{- end }}

{{/* What cannot work is refused before anything is installed. */}}
{{- define "kaput-not.validate" -}}
{{- if or (not .Values.netmaker.apiUrl) (contains "netmaker.example.com" .Values.netmaker.apiUrl) }}
{{- fail "set netmaker.apiUrl to the address of your Netmaker API" }}
{{- end }}
{{- if not .Values.netmaker.existingSecret }}
{{- if not .Values.netmaker.token }}
{{- if or (not .Values.netmaker.password) (eq .Values.netmaker.password "REPLACE-WITH-ACTUAL-PASSWORD") }}
{{- fail "set netmaker.password, netmaker.token or netmaker.existingSecret" }}
{{- end }}
{{- if not .Values.netmaker.username }}
{{- fail "set netmaker.username, netmaker.token or netmaker.existingSecret" }}
{{- end }}
{{- end }}
{{- end }}
{{- if and (not .Values.leaderElection.enabled) (gt (int .Values.replicaCount) 1) }}
{{- fail "leaderElection.enabled=false needs replicaCount=1: two that write would write everything twice" }}
{{- end }}
{{- if regexMatch "[[:space:]=]" .Values.clusterName }}
{{- fail "clusterName must have no white space and no \"=\"" }}
{{- end }}
{{- if and .Values.netmaker.ca.pem .Values.netmaker.ca.existingConfigMap }}
{{- fail "set one of netmaker.ca.pem and netmaker.ca.existingConfigMap" }}
{{- end }}
{{- end }}
