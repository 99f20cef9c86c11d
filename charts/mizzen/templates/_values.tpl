{{/*
mizzen.values are the values in force, as JSON: the defaults, over them the profile's, over these the user's. They are kept out of
values.yaml so that a profile does not hide behind defaults there.
*/}}
{{- define "mizzen.values" -}}
{{- $defaults := .Files.Get "files/defaults.yaml" | fromYaml -}}
{{- $name := .Values.profile | default "default" -}}
{{- $file := printf "files/profile-%s.yaml" $name -}}
{{- if not (.Files.Get $file) -}}
{{- fail (printf "profile %q is none of default, demo, minimal" $name) -}}
{{- end -}}
{{- $user := omit .Values "profile" "global" -}}
{{- if .Values.global -}}{{- $_ := set $user "global" (.Values.global | toJson | fromJson) -}}{{- end -}}
{{- include "mizzen.known" (list "" $defaults $user) -}}
{{- $profile := .Files.Get $file | fromYaml -}}
{{- $v := mergeOverwrite $defaults ($profile | default dict) ($user | toJson | fromJson) -}}
{{- if include "mizzen.suffix" $v -}}{{/* the gateways belong to the installation without a revision, unless somebody wants more */}}
{{- range $k := list "ingress" "egress" -}}
{{- if not (dig "gateways" $k "enabled" false $user) -}}{{- $_ := set (index $v.gateways $k) "enabled" false -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- toJson $v -}}
{{- end -}}

{{/* mizzen.known fails for a value that the defaults do not have: list PATH DEFAULTS VALUES. Lists, empty maps and meshConfig are free. */}}
{{- define "mizzen.known" -}}
{{- $path := index . 0 -}}{{- $defaults := index . 1 -}}
{{- range $k, $x := index . 2 -}}
{{- if not (hasKey $defaults $k) -}}
{{- fail (printf "there is no value %s%s; the chart's values.yaml lists all" $path $k) -}}
{{- end -}}
{{- $d := index $defaults $k -}}
{{- $free := or (eq $k "meshConfig") (eq $k "config") (eq $k "labels") (eq $k "securityContext") (eq $k "resources") (eq $k "proxy") (eq $k "global") (eq $k "sidecarInjectorWebhook") -}}
{{- if and (kindIs "map" $d) (kindIs "map" $x) $d (not $free) -}}
{{- include "mizzen.known" (list (printf "%s%s." $path $k) $d $x) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* mizzen.suffix of every name of a revision. */}}
{{- define "mizzen.suffix" -}}
{{- if and .revision (ne .revision "default") -}}-{{ .revision }}{{- end -}}
{{- end -}}

{{/* mizzen.labels of every object: list ROOT VALUES COMPONENT. */}}
{{- define "mizzen.labels" -}}
{{- $root := index . 0 -}}{{- $v := index . 1 -}}
app.kubernetes.io/name: {{ index . 2 }}
app.kubernetes.io/part-of: mizzen
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
istio.io/rev: {{ $v.revision | default "default" }}
{{- end -}}

{{/* mizzen.selector of a component's pods: list VALUES COMPONENT. */}}
{{- define "mizzen.selector" -}}
app: {{ index . 1 }}
istio.io/rev: {{ (index . 0).revision | default "default" }}
{{- end -}}

{{/* mizzen.image: list VALUES NAME. A name with "/" is taken as it stands. */}}
{{- define "mizzen.image" -}}
{{- $g := (index . 0).global -}}{{- $name := index . 1 -}}
{{- if contains "/" $name }}{{ $name }}{{ else }}{{ $g.hub }}/{{ $name }}:{{ $g.tag }}{{ end -}}
{{- end -}}

{{/* mizzen.pull is what a pod needs to get its images. */}}
{{- define "mizzen.pull" -}}
{{- with .global.imagePullSecrets }}
imagePullSecrets:
{{- range . }}
- name: {{ if kindIs "map" . }}{{ .name }}{{ else }}{{ . }}{{ end }}
{{- end }}
{{- end }}
{{- end -}}

{{/* mizzen.place is where a component's pods run. */}}
{{- define "mizzen.place" -}}
{{- with .nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .topologySpreadConstraints }}
topologySpreadConstraints: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end -}}

{{/* mizzen.account is what a component's ServiceAccount has besides its name. */}}
{{- define "mizzen.account" -}}
{{- with .serviceAccountAnnotations }}
annotations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* mizzen.service are the fields of a Service's spec that say something; Kubernetes does the rest. */}}
{{- define "mizzen.service" -}}
{{- range $k, $x := omit . "type" "annotations" "ports" }}
{{- if kindIs "bool" $x }}{{/* true is Kubernetes' own, where the field may stand at all */}}
{{- if not $x }}
{{ $k }}: false
{{- end }}
{{- else if kindIs "slice" $x }}
{{- with $x }}
{{ $k }}: {{- toYaml . | nindent 2 }}
{{- end }}
{{- else if $x }}
{{ $k }}: {{ $x }}
{{- end }}
{{- end }}
{{- end -}}

{{/* What pod security standard "restricted" asks of a pod, and of a container. */}}
{{- define "mizzen.podSecurity" -}}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  seccompProfile: {type: RuntimeDefault}
{{- end -}}
{{- define "mizzen.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end -}}

{{/* mizzen.env of a container: what the chart sets, then the user's map NAME: VALUE. */}}
{{- define "mizzen.env" -}}
- name: POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
- name: POD_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
- name: GOMEMLIMIT
  valueFrom: {resourceFieldRef: {resource: limits.memory, divisor: "1"}}
{{- range $k, $x := .env }}
- {name: {{ $k }}, value: {{ $x | quote }}}
{{- end }}
{{- end -}}

{{/* mizzen.scale is a component's autoscaler and disruption budget: list ROOT VALUES NAME COMPONENT-VALUES SELECTOR LABELS. */}}
{{- define "mizzen.scale" -}}
{{- $root := index . 0 -}}{{- $name := index . 2 -}}{{- $c := index . 3 -}}
{{- if ($c.autoscale | default dict).enabled }}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: {{ $name }}
  namespace: {{ $root.Release.Namespace }}
  labels: {{- index . 5 | nindent 4 }}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: {{ $name }}}
  minReplicas: {{ $c.autoscale.min }}
  maxReplicas: {{ $c.autoscale.max }}
  metrics:
  - type: Resource
    resource: {name: cpu, target: {type: Utilization, averageUtilization: {{ $c.autoscale.cpu }}}}
{{- end }}
{{- $least := $c.replicas }}
{{- if ($c.autoscale | default dict).enabled }}{{ $least = $c.autoscale.min }}{{ end }}
{{- if gt (int $least) 1 }}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ $name }}
  namespace: {{ $root.Release.Namespace }}
  labels: {{- index . 5 | nindent 4 }}
spec:
  minAvailable: 1
  selector:
    matchLabels: {{- index . 4 | nindent 6 }}
{{- end }}
{{- end -}}
