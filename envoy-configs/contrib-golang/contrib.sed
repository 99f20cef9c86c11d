# Turns a file of this folder, which runs in a stock Envoy through golanghost, into what a contrib Envoy's own golang
# filter takes. The plugin's configuration stays as it is.
/DynamicModuleFilterPerRoute$/,/filter_config:/{
  s/envoy\.extensions\.filters\.http\.dynamic_modules\.v3\.DynamicModuleFilterPerRoute/envoy.extensions.filters.http.golang.v3alpha.ConfigsPerRoute/
  /dynamic_module_config:/d
  s/filter_name: mizzen@libmizzen-golang\.so/plugins_config:/
  s/filter_config: \(.*\)/  mizzen: {config: \1}/
}
s/envoy\.extensions\.filters\.http\.dynamic_modules\.v3\.DynamicModuleFilter$/envoy.extensions.filters.http.golang.v3alpha.Config/
s/dynamic_module_config: {name: golanghost.*/library_id: mizzen/
s/\( *\)filter_name: mizzen@libmizzen-golang\.so/\1library_path: build\/libmizzen-golang.so\n\1plugin_name: mizzen/
s/^\( *\)filter_config:/\1plugin_config:/
s/make golang golanghost/make golang/
/^#.*through golanghost/s/here in a stock one through golanghost/in a contrib Envoy/
/^#.*sed -f envoy-configs/s/For a contrib Envoy: sed -f .*/Made by contrib.sed./
s/ENVOY_DYNAMIC_MODULES_SEARCH_PATH=build \$(scripts\/envoy install) -c .*/envoy -c THIS-FILE/
