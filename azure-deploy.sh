#!/usr/bin/env bash
# Creates a web app on Azure App Service from a checkout, without any password: the app authenticates
# with its system-assigned identity. Idempotent: a further run keeps existing resources and deploys
# the present code. `./azure-deploy.sh --help` lists the options.
#
# Limited to bash 3.2 (macOS): no ${value@Q}, no ${value,,}, no bare expansion of an empty array.
set -euo pipefail

usage() {
    cat <<'TEXT'
Usage: ./azure-deploy.sh [options]            create or update, then deploy
       ./azure-deploy.sh --dry-run [options]  print the commands; run none, not even az
       ./azure-deploy.sh --delete [--yes]     remove what this script created

Each option can also be set by the environment variable in brackets; its default follows.

  --subscription NAME_OR_ID   [SUBSCRIPTION]      the one of `az account show`
  --resource-group NAME       [RESOURCE_GROUP]    sql-procedures-api
  --location NAME             [LOCATION]          westeurope
  --app-name NAME             [APP_NAME]          sql-procedures-api-<hash of subscription, group>
  --plan NAME                 [PLAN]              <app name>-plan
  --sku NAME                  [SKU]               B1
  --runtime NAME:VERSION      [RUNTIME]           PYTHON:3.13
  --startup COMMAND           [STARTUP]           exec gunicorn app:app
  --health-path PATH          [HEALTH_PATH]       /health/live
  --setting KEY=VALUE         an app setting; repeatable. Its value is not printed.
                              AUTH is required, unless the web app has it already.

Databases: at least one of these.
  --create-sql                [CREATE_SQL=1]      create the Azure SQL server and database if absent
  --sql-server NAME           [SQL_SERVER]        <app name>-sql with --create-sql, else none
  --sql-resource-group NAME   [SQL_RESOURCE_GROUP] the group above
  --sql-database NAME         [SQL_DATABASE]      WWI
  --sql-admin-name NAME       [SQL_ADMIN_NAME]    the signed-in user   (Entra administrator)
  --sql-admin-id OBJECT_ID    [SQL_ADMIN_ID]      the signed-in user
  --sql-admin-type TYPE       [SQL_ADMIN_TYPE]    User (or Group, Application)
  --use-free-limit            [USE_FREE_LIMIT=1]  create the database in Azure's free offer
  --client-ip ADDRESS         [CLIENT_IP]         none; address to open the new server's firewall to;
                                                  auto: the address that the server rejected
  --synapse-workspace NAME    [SYNAPSE_WORKSPACE] none
  --taxi-database NAME        [TAXI_DATABASE]     TAXI
  --storage-account NAME      [STORAGE_ACCOUNT]   none; required with --synapse-workspace
  --storage-container NAME    [STORAGE_CONTAINER] taxidata
  --storage-path PATH         [STORAGE_PATH]      /taxidata/*.parquet
  WWIF_CONNECTION_STRING, TAXI_CONNECTION_STRING  complete connection strings instead; environment
                              only, because other processes can read options

  --no-grants                 [NO_GRANTS=1]       run no SQL, assign no role; print both
  --yes                       [YES=1]             run --delete without confirmation
TEXT
}

say() { printf '%s\n' "$*"; }
stop() { printf 'azure-deploy.sh: %s\n' "$*" >&2; exit 1; }

# --- options --------------------------------------------------------------------------------------

SUBSCRIPTION="${SUBSCRIPTION:-}"
RESOURCE_GROUP="${RESOURCE_GROUP:-sql-procedures-api}"
LOCATION="${LOCATION:-westeurope}"
APP_NAME="${APP_NAME:-}"
PLAN="${PLAN:-}"
SKU="${SKU:-B1}"
RUNTIME="${RUNTIME:-PYTHON:3.13}"
# Without exec a shell would be process 1 and would not pass the SIGTERM of a stop to gunicorn.
STARTUP="${STARTUP:-exec gunicorn app:app}"
HEALTH_PATH="${HEALTH_PATH:-/health/live}"
CREATE_SQL="${CREATE_SQL:-}"
SQL_SERVER="${SQL_SERVER:-}"
SQL_RESOURCE_GROUP="${SQL_RESOURCE_GROUP:-}"
SQL_DATABASE="${SQL_DATABASE:-WWI}"
SQL_ADMIN_NAME="${SQL_ADMIN_NAME:-}"
SQL_ADMIN_ID="${SQL_ADMIN_ID:-}"
SQL_ADMIN_TYPE="${SQL_ADMIN_TYPE:-User}"
USE_FREE_LIMIT="${USE_FREE_LIMIT:-}"
CLIENT_IP="${CLIENT_IP:-}"
SYNAPSE_WORKSPACE="${SYNAPSE_WORKSPACE:-}"
TAXI_DATABASE="${TAXI_DATABASE:-TAXI}"
STORAGE_ACCOUNT="${STORAGE_ACCOUNT:-}"
STORAGE_CONTAINER="${STORAGE_CONTAINER:-taxidata}"
STORAGE_PATH="${STORAGE_PATH:-/taxidata/*.parquet}"
WWIF_CONNECTION_STRING="${WWIF_CONNECTION_STRING:-}"
TAXI_CONNECTION_STRING="${TAXI_CONNECTION_STRING:-}"
NO_GRANTS="${NO_GRANTS:-}"
YES="${YES:-}"
DRY_RUN=""
DELETE=""
SETTINGS=()

while [ $# -gt 0 ]; do
    case "$1" in
        --help | -h) usage; exit 0 ;;
        --dry-run) DRY_RUN=1; shift; continue ;;
        --delete) DELETE=1; shift; continue ;;
        --create-sql) CREATE_SQL=1; shift; continue ;;
        --use-free-limit) USE_FREE_LIMIT=1; shift; continue ;;
        --no-grants) NO_GRANTS=1; shift; continue ;;
        --yes) YES=1; shift; continue ;;
        --*) ;;
        *) stop "'$1' is not an option; --help lists the options." ;;
    esac
    [ $# -ge 2 ] || stop "$1 needs a value, or is not an option; --help lists the options."
    case "$1" in
        --subscription) SUBSCRIPTION="$2" ;;
        --resource-group) RESOURCE_GROUP="$2" ;;
        --location) LOCATION="$2" ;;
        --app-name) APP_NAME="$2" ;;
        --plan) PLAN="$2" ;;
        --sku) SKU="$2" ;;
        --runtime) RUNTIME="$2" ;;
        --startup) STARTUP="$2" ;;
        --health-path) HEALTH_PATH="$2" ;;
        --setting) SETTINGS+=("$2") ;;
        --sql-server) SQL_SERVER="$2" ;;
        --sql-resource-group) SQL_RESOURCE_GROUP="$2" ;;
        --sql-database) SQL_DATABASE="$2" ;;
        --sql-admin-name) SQL_ADMIN_NAME="$2" ;;
        --sql-admin-id) SQL_ADMIN_ID="$2" ;;
        --sql-admin-type) SQL_ADMIN_TYPE="$2" ;;
        --client-ip) CLIENT_IP="$2" ;;
        --synapse-workspace) SYNAPSE_WORKSPACE="$2" ;;
        --taxi-database) TAXI_DATABASE="$2" ;;
        --storage-account) STORAGE_ACCOUNT="$2" ;;
        --storage-container) STORAGE_CONTAINER="$2" ;;
        --storage-path) STORAGE_PATH="$2" ;;
        *) stop "'$1' is not an option; --help lists the options." ;;
    esac
    shift 2
done

SQL_RESOURCE_GROUP="${SQL_RESOURCE_GROUP:-$RESOURCE_GROUP}"

# --- running az -----------------------------------------------------------------------------------

quoted() {
    case "$1" in
        '' | *[!A-Za-z0-9_@%+=:,./-]*) printf "'%s'" "$(printf '%s' "$1" | sed "s/'/'\\\\''/g")" ;;
        *) printf '%s' "$1" ;;
    esac
}

# Prints every command before it runs, quoted so that it can be pasted. On standard error, because
# the results of queries are read from standard output.
show() {
    local word line="+"
    for word in "$@"; do line="$line $(quoted "$word")"; done
    printf '%s\n' "$line" >&2
}

# One subscription for every command, so that a second window's `az account set` changes nothing.
run() {
    show az "$@" --subscription "$SUBSCRIPTION"
    [ -n "$DRY_RUN" ] || az "$@" --subscription "$SUBSCRIPTION" --output none
}

# query PLACEHOLDER words…: the result of an az query, or in a dry run the placeholder.
query() {
    local placeholder="$1"
    shift
    # `az ad` and `az cloud` reject the option, because they belong to no subscription.
    case "$1" in
        ad | cloud) ;;
        *) set -- "$@" --subscription "$SUBSCRIPTION" ;;
    esac
    show az "$@" --output tsv
    if [ -n "$DRY_RUN" ]; then
        printf '%s' "$placeholder"
    else
        az "$@" --output tsv
    fi
}

# run_reading TEXT SHOWN words…: az reads TEXT from standard input in place of `@-`, so that secrets
# are neither printed nor in the process list.
run_reading() {
    local text="$1" shown="$2"
    shift 2
    show az "$@" --subscription "$SUBSCRIPTION"
    printf '    where @- reads: %s\n' "$shown" >&2
    [ -n "$DRY_RUN" ] || printf '%s' "$text" | az "$@" --subscription "$SUBSCRIPTION" --output none
}

# watched FILE command…: run the command, with a copy of its standard error in FILE.
watched() {
    local file="$1"
    shift
    { "$@" 2>&1 >&3 | tee "$file" >&2; } 3>&1
}

# A connection string without its password, braced or not.
redacted() {
    printf '%s' "$1" | sed -E \
        's/((^|;)[[:space:]]*([Pp][Ww][Dd]|[Pp][Aa][Ss][Ss][Ww][Oo][Rr][Dd])[[:space:]]*=[[:space:]]*)(\{([^}]|\}\})*\}|[^;]*)/\1***/g'
}

# A value of an ODBC connection string; braces keep blanks and semicolons, `}` is doubled in them.
odbc_value() {
    case "$1" in
        *[!A-Za-z0-9._-]*) printf '{%s}' "$(printf '%s' "$1" | sed 's/}/}}/g')" ;;
        *) printf '%s' "$1" ;;
    esac
}

# Without Driver=, so that the app uses the newest installed one, or the one of its requirements.
connection_string() {
    printf 'Server=tcp:%s,1433;Database=%s;Encrypt=yes' "$1" "$(odbc_value "$2")"
}

# --- subscription and names -----------------------------------------------------------------------

if [ -z "$DRY_RUN" ]; then
    command -v az >/dev/null 2>&1 ||
        stop "the Azure CLI (az) is not installed: https://learn.microsoft.com/cli/azure/install-azure-cli"
    if [ -n "$SUBSCRIPTION" ]; then
        SUBSCRIPTION="$(az account show --subscription "$SUBSCRIPTION" --query id --output tsv 2>/dev/null)" ||
            stop "az is not logged in, or has no access to this subscription: run 'az login' first."
    else
        SUBSCRIPTION="$(az account show --query id --output tsv 2>/dev/null)" ||
            stop "az is not logged in: run 'az login' first."
    fi
    [ -n "$SUBSCRIPTION" ] || stop "az has no subscription: run 'az login' and 'az account set'."
    SUBSCRIPTION_HASH="$(printf '%s/%s' "$SUBSCRIPTION" "$RESOURCE_GROUP" | cksum | cut -d ' ' -f 1)"
else
    SUBSCRIPTION="${SUBSCRIPTION:-SUBSCRIPTION-ID}"
    SUBSCRIPTION_HASH="HASH"
fi

APP_NAME="${APP_NAME:-sql-procedures-api-$SUBSCRIPTION_HASH}"
PLAN="${PLAN:-$APP_NAME-plan}"

case "$APP_NAME" in
    *[!A-Za-z0-9-]* | -* | *-) stop "the app's name '$APP_NAME' is invalid: use letters, digits and inner hyphens only." ;;
esac
if [ "${#APP_NAME}" -lt 2 ] || [ "${#APP_NAME}" -gt 60 ]; then
    stop "the app's name '$APP_NAME' is invalid: use 2 to 60 characters."
fi
if [ -n "$CREATE_SQL" ]; then
    SQL_SERVER="${SQL_SERVER:-$(printf '%s-sql' "$APP_NAME" | tr '[:upper:]' '[:lower:]')}"
fi
# Both become part of a host name.
case "$SQL_SERVER$SYNAPSE_WORKSPACE" in
    *[!A-Za-z0-9-]*) stop "name the SQL server and the Synapse workspace without their domain: letters, digits, hyphens." ;;
esac

# A resource group with this tag may be removed by --delete.
TAG="made-by=azure-deploy.sh"

# exists NAME words…: whether the list of the az command words… has a resource of this name. Stops
# the script if the command fails, because that does not mean that the resource is absent.
exists() {
    local name found
    name="$(printf '%s' "$1" | sed "s/'/\\\\'/g")"
    shift
    found="$(query "" "$@" --query "[?name=='$name'].name")" || stop "az $1 $2 failed; its message is above."
    [ -n "$found" ]
}

# --- --delete -------------------------------------------------------------------------------------

delete_all() {
    local tag there
    if [ -z "$YES" ] && [ -z "$DRY_RUN" ]; then
        printf "Remove web app '%s' and the resources created with it in group '%s'? Type its name: " \
            "$APP_NAME" "$RESOURCE_GROUP" >&2
        local answer=""
        read -r answer || true
        [ "$answer" = "$APP_NAME" ] || stop "nothing was removed."
    fi
    there="$(query true group exists --name "$RESOURCE_GROUP")"
    if [ "$there" != true ]; then
        say "There is no group '$RESOURCE_GROUP': nothing to remove."
        return
    fi
    tag="$(query azure-deploy.sh group show --name "$RESOURCE_GROUP" --query 'tags."made-by"')"
    if [ "$tag" = azure-deploy.sh ]; then
        run group delete --name "$RESOURCE_GROUP" --yes
    else
        say "Group '$RESOURCE_GROUP' was not created by this script, so it stays, with its databases."
        if exists "$APP_NAME" webapp list --resource-group "$RESOURCE_GROUP"; then
            # Without --keep-empty-plan the plan is deleted with its last app.
            run webapp delete --name "$APP_NAME" --resource-group "$RESOURCE_GROUP"
        fi
    fi
    say "In each database that stays, remove the app's user: DROP USER IF EXISTS [$APP_NAME];"
}

if [ -n "$DELETE" ]; then
    delete_all
    exit 0
fi

# --- checks before anything is created ------------------------------------------------------------

project="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
# Never a flask from PATH: it would run another environment's packages.
FLASK="$project/.venv/bin/flask"

if [ ! -f "$project/app.py" ] || [ ! -f "$project/requirements.txt" ]; then
    stop "app.py and requirements.txt are missing next to this script: run it from a complete checkout."
fi
[ -n "$WWIF_CONNECTION_STRING$TAXI_CONNECTION_STRING$SQL_SERVER$SYNAPSE_WORKSPACE" ] ||
    stop "no database is named: add --create-sql, --sql-server or --synapse-workspace, or set WWIF_CONNECTION_STRING or TAXI_CONNECTION_STRING."
if [ -n "$SYNAPSE_WORKSPACE" ] && [ -z "$STORAGE_ACCOUNT" ]; then
    stop "STORAGE_ACCOUNT is unset: name the account of the taxi files (--storage-account)."
fi
for setting in ${SETTINGS[@]+"${SETTINGS[@]}"}; do
    case "$setting" in
        [A-Za-z_]*=*) ;;
        *) stop "--setting needs the form KEY=VALUE." ;;
    esac
done

# A health check that logs in keeps a serverless database from pausing, so the two must match.
AUTO_PAUSE_MINUTES=60
case "$HEALTH_PATH" in
    / | /health/live) ;;
    *)
        [ -z "$USE_FREE_LIMIT" ] ||
            stop "--health-path $HEALTH_PATH keeps the database running all day, which uses the free 100,000 vCore seconds of a month in three days: omit --use-free-limit, or use /health/live."
        AUTO_PAUSE_MINUTES=-1
        ;;
esac

group_exists="$(query false group exists --name "$RESOURCE_GROUP")"
app_exists=""
if [ "$group_exists" = true ] && exists "$APP_NAME" webapp list --resource-group "$RESOURCE_GROUP"; then
    app_exists=1
fi

CONFIGURED=""
AUTH_VALUE=""
if [ -n "$app_exists" ]; then
    CONFIGURED="$(query "" webapp config appsettings list --name "$APP_NAME" \
        --resource-group "$RESOURCE_GROUP" --query "[?value!=''].name")"
    AUTH_VALUE="$(query "" webapp config appsettings list --name "$APP_NAME" \
        --resource-group "$RESOURCE_GROUP" --query "[?name=='AUTH'].value")"
fi
# A --setting overrides the web app's value.
for setting in ${SETTINGS[@]+"${SETTINGS[@]}"}; do
    CONFIGURED="$(printf '%s\n' "$CONFIGURED" | grep -Fvx -- "${setting%%=*}" || true)"
    [ -z "${setting#*=}" ] || CONFIGURED="$CONFIGURED
${setting%%=*}"
    case "$setting" in AUTH=*) AUTH_VALUE="${setting#*=}" ;; esac
done

configured() { printf '%s\n' "$CONFIGURED" | grep -Fqx -- "$1"; }

# Without AUTH the app would not start, and App Service would report that as an endless start.
authentication_problem() {
    local methods name
    methods=",$(printf '%s' "$AUTH_VALUE" | tr -d ' ' | tr '[:upper:]' '[:lower:]'),"
    case "$methods" in
        ,, | ,loopback,)
            printf '%s' "AUTH is not set, and without it the API does not start on App Service: add --setting AUTH=keys and --setting API_KEYS=..., or AUTH=oidc, easyauth, or AUTH=none for public access (docs/authentication.md)."
            return ;;
    esac
    for name in keys:API_KEYS oidc:OIDC_ISSUER oidc:OIDC_AUDIENCE; do
        case "$methods" in
            *",${name%%:*},"*)
                configured "${name#*:}" || {
                    printf '%s' "AUTH=${name%%:*} needs ${name#*:}: add --setting ${name#*:}=... (docs/authentication.md)."
                    return
                } ;;
        esac
    done
    case "$methods" in
        *,easyauth,*)
            [ -n "$app_exists" ] ||
                printf '%s' "AUTH=easyauth needs App Service's own sign-in, which only an existing web app can have: deploy with AUTH=keys, switch the sign-in on, then deploy with --setting AUTH=easyauth." ;;
    esac
}

problem="$(authentication_problem)"
if [ -n "$problem" ]; then
    [ -n "$DRY_RUN" ] || stop "$problem Nothing was created."
    say "A run would stop here, unless the web app has the setting already: $problem" >&2
fi

runs_sql=""
if [ -z "$NO_GRANTS" ]; then
    if [ -n "$SQL_SERVER" ] && [ -z "$WWIF_CONNECTION_STRING" ]; then runs_sql=1; fi
    if [ -n "$SYNAPSE_WORKSPACE" ] && [ -z "$TAXI_CONNECTION_STRING" ]; then runs_sql=1; fi
fi

# flask_here words…: runs the flask of this checkout, with no connection string except $TARGET_STRING.
# The others are empty and not unset, because an empty variable also overrides a line of .env.
flask_here() (
    cd "$project"
    for prefix in SQLAZURECONNSTR SQLCONNSTR CUSTOMCONNSTR POSTGRESQLCONNSTR; do
        export "${prefix}_WWIF=" "${prefix}_TAXI="
    done
    [ -z "${TARGET_NAME:-}" ] || export "SQLAZURECONNSTR_$TARGET_NAME=$TARGET_STRING"
    exec "$FLASK" "$@"
)

if [ -n "$runs_sql" ]; then
    show .venv/bin/flask sql driver
    if [ -z "$DRY_RUN" ]; then
        [ -x "$FLASK" ] ||
            stop "the folder .venv, needed to run the SQL scripts, is missing: start scripts/run once, stop it with Ctrl-C, and run this again. Or add --no-grants. Nothing was created."
        flask_here sql driver >&2 ||
            stop "this machine cannot run the SQL scripts; the reason is above. Fix it, or add --no-grants. Nothing was created."
    fi
fi
if [ -z "$DRY_RUN" ]; then
    git -C "$project" rev-parse --quiet --verify HEAD >/dev/null ||
        stop "'$project' is not a git checkout with a commit, and only files that git tracks are deployed. Nothing was created."
fi

# The cloud that az is logged in to: public, China or US Government.
SQL_SUFFIX="$(query .database.windows.net cloud show --query suffixes.sqlServerHostname)"
WWIF="$WWIF_CONNECTION_STRING"
TAXI="$TAXI_CONNECTION_STRING"
if [ -z "$WWIF" ] && [ -n "$SQL_SERVER" ]; then
    WWIF="$(connection_string "$SQL_SERVER$SQL_SUFFIX" "$SQL_DATABASE")"
fi
if [ -n "$SYNAPSE_WORKSPACE" ]; then
    STORAGE_ID="$(query STORAGE-ID storage account show --name "$STORAGE_ACCOUNT" --query id)" ||
        stop "there is no storage account '$STORAGE_ACCOUNT' in this subscription. Nothing was created."
    WORKSPACE="$(query WORKSPACE-ID resource list --name "$SYNAPSE_WORKSPACE" \
        --resource-type Microsoft.Synapse/workspaces --query "[0].id")"
    [ -n "$WORKSPACE" ] ||
        stop "there is no Synapse workspace '$SYNAPSE_WORKSPACE' in this subscription. Nothing was created."
    WORKSPACE_PRINCIPAL="$(query WORKSPACE-PRINCIPAL-ID resource show --ids "$WORKSPACE" \
        --query identity.principalId)"
    SYNAPSE_HOST="$(query "$SYNAPSE_WORKSPACE-ondemand.sql.azuresynapse.net" resource show \
        --ids "$WORKSPACE" --query properties.connectivityEndpoints.sqlOnDemand)"
    if [ -z "$WORKSPACE_PRINCIPAL" ] || [ -z "$SYNAPSE_HOST" ]; then
        stop "Synapse workspace '$SYNAPSE_WORKSPACE' has no identity or no serverless SQL endpoint. Nothing was created."
    fi
    TAXI="${TAXI:-$(connection_string "$SYNAPSE_HOST" "$TAXI_DATABASE")}"
fi

# --- group, plan, app, identity -------------------------------------------------------------------
# The app is created without code and configured first, because without connection strings it does
# not start. The plan of an existing app stays, whatever its size and name.

if [ "$group_exists" != true ]; then
    run group create --name "$RESOURCE_GROUP" --location "$LOCATION" --tags "$TAG"
fi
if [ -z "$app_exists" ]; then
    if ! exists "$PLAN" appservice plan list --resource-group "$RESOURCE_GROUP"; then
        run appservice plan create --name "$PLAN" --resource-group "$RESOURCE_GROUP" \
            --location "$LOCATION" --is-linux --sku "$SKU" --tags "$TAG"
    fi
    run webapp create --name "$APP_NAME" --resource-group "$RESOURCE_GROUP" --plan "$PLAN" \
        --runtime "$RUNTIME" --https-only true --basic-auth Disabled --tags "$TAG"
fi
run webapp update --name "$APP_NAME" --resource-group "$RESOURCE_GROUP" --https-only true
PRINCIPAL_ID="$(query PRINCIPAL-ID webapp identity assign --name "$APP_NAME" \
    --resource-group "$RESOURCE_GROUP" --query principalId)"
[ -n "$PRINCIPAL_ID" ] || stop "web app '$APP_NAME' got no system-assigned identity."

# --- Azure SQL ------------------------------------------------------------------------------------

open_firewall() {
    run sql server firewall-rule create --name DeployingMachine \
        --resource-group "$SQL_RESOURCE_GROUP" --server "$SQL_SERVER" \
        --start-ip-address "$1" --end-ip-address "$1"
}

if [ -n "$CREATE_SQL" ]; then
    if ! exists "$SQL_SERVER" sql server list --resource-group "$SQL_RESOURCE_GROUP"; then
        if [ -z "$SQL_ADMIN_ID" ]; then
            SQL_ADMIN_ID="$(query ADMIN-OBJECT-ID ad signed-in-user show --query id)" ||
                stop "SQL_ADMIN_ID is unset and no user is signed in: add --sql-admin-id, --sql-admin-name and --sql-admin-type."
        fi
        if [ -z "$SQL_ADMIN_NAME" ]; then
            SQL_ADMIN_NAME="$(query ADMIN-NAME ad signed-in-user show --query userPrincipalName)" ||
                stop "SQL_ADMIN_NAME is unset and no user is signed in: add --sql-admin-name."
        fi
        run sql server create --name "$SQL_SERVER" --resource-group "$SQL_RESOURCE_GROUP" \
            --location "$LOCATION" --enable-ad-only-auth \
            --external-admin-principal-type "$SQL_ADMIN_TYPE" \
            --external-admin-name "$SQL_ADMIN_NAME" --external-admin-sid "$SQL_ADMIN_ID" \
            --minimal-tls-version 1.2
    fi
    if ! exists "$SQL_DATABASE" sql db list --resource-group "$SQL_RESOURCE_GROUP" --server "$SQL_SERVER"; then
        capacity=1
        free=()
        if [ -n "$USE_FREE_LIMIT" ]; then
            capacity=2 # as in Microsoft's example of the free offer
            free=(--use-free-limit true --free-limit-exhaustion-behavior AutoPause)
        fi
        run sql db create --name "$SQL_DATABASE" --resource-group "$SQL_RESOURCE_GROUP" \
            --server "$SQL_SERVER" --edition GeneralPurpose --family Gen5 --capacity "$capacity" \
            --compute-model Serverless --min-capacity 0.5 \
            --auto-pause-delay="$AUTO_PAUSE_MINUTES" \
            --backup-storage-redundancy Local --yes ${free[@]+"${free[@]}"}
    fi
    # Here 0.0.0.0 means "services within Azure".
    run sql server firewall-rule create --name AllowAzureServices \
        --resource-group "$SQL_RESOURCE_GROUP" --server "$SQL_SERVER" \
        --start-ip-address 0.0.0.0 --end-ip-address 0.0.0.0
    case "$CLIENT_IP" in '' | auto) ;; *) open_firewall "$CLIENT_IP" ;; esac
fi

# --- Synapse: permission to read the files --------------------------------------------------------
# The procedures of sql/synapse read through a database scoped credential, as the workspace's own
# identity. The app's identity needs REFERENCES on that credential, and no role on the storage.

if [ -n "$SYNAPSE_WORKSPACE" ]; then
    there="$(query false storage container-rm exists --name "$STORAGE_CONTAINER" \
        --storage-account "$STORAGE_ID" --query exists)"
    if [ "$there" != true ]; then
        run storage container-rm create --name "$STORAGE_CONTAINER" --storage-account "$STORAGE_ID" \
            --public-access off
    fi
    # With the principal's type, az skips a look-up, which fails while a new identity is replicated.
    set -- role assignment create --assignee-object-id "$WORKSPACE_PRINCIPAL" \
        --assignee-principal-type ServicePrincipal --role "Storage Blob Data Reader" \
        --scope "$STORAGE_ID/blobServices/default/containers/$STORAGE_CONTAINER"
    if [ -z "$NO_GRANTS" ]; then
        run "$@"
    else
        say "An owner of the storage account must assign this role to the Synapse workspace:"
        show az "$@" 2>&1
    fi
fi

# --- settings of the app --------------------------------------------------------------------------

set_connection_string() {
    run_reading "$1=$2" "$1=$(redacted "$2")" webapp config connection-string set \
        --name "$APP_NAME" --resource-group "$RESOURCE_GROUP" \
        --connection-string-type SQLAzure --settings @-
}
[ -z "$WWIF" ] || set_connection_string WWIF "$WWIF"
[ -z "$TAXI" ] || set_connection_string TAXI "$TAXI"

# Defaults for settings that neither the web app nor --setting has. The platform installs
# requirements.txt after unpacking, acts as one proxy, and by default kills a container 5 s after
# SIGTERM, which is less than gunicorn's graceful_timeout.
defaults=()
for setting in SCM_DO_BUILD_DURING_DEPLOYMENT=true TRUSTED_PROXIES=1 \
    WEBSITES_CONTAINER_STOP_TIME_LIMIT=60; do
    configured "${setting%%=*}" || defaults+=("$setting")
done
[ "${#defaults[@]}" -eq 0 ] ||
    run webapp config appsettings set --name "$APP_NAME" --resource-group "$RESOURCE_GROUP" \
        --settings "${defaults[@]}"
for setting in ${SETTINGS[@]+"${SETTINGS[@]}"}; do
    run_reading "$setting" "${setting%%=*}=***" webapp config appsettings set \
        --name "$APP_NAME" --resource-group "$RESOURCE_GROUP" --settings @-
done

case "$SKU" in
    F1 | FREE | D1 | SHARED) always_on=false ;; # not available there
    *) always_on=true ;;
esac
run webapp config set --name "$APP_NAME" --resource-group "$RESOURCE_GROUP" \
    --startup-file "$STARTUP" --min-tls-version 1.2 --ftps-state Disabled \
    --http20-enabled true --always-on "$always_on" \
    --generic-configurations "{\"healthCheckPath\": \"$HEALTH_PATH\"}"
# Otherwise `az webapp log tail` shows nothing.
run webapp log config --name "$APP_NAME" --resource-group "$RESOURCE_GROUP" \
    --docker-container-logging filesystem

# --- procedures and grants in the databases -------------------------------------------------------

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

# Prints the grants, with the app's name as an identifier.
print_grants() {
    local folder="$1" name file
    name="$(printf '%s' "$APP_NAME" | sed 's/]/]]/g')"
    for file in "$project/sql/$folder"/*grants*.sql; do
        [ -f "$file" ] || continue
        printf -- '-- sql/%s/%s\n' "$folder" "${file##*/}"
        sed "s/\$(AppName)/$name/g" "$file"
        printf '\n'
    done
    printf -- '-- If another principal has that name too (error 33131), on Azure SQL first:\n'
    printf -- "-- CREATE USER [%s] FROM EXTERNAL PROVIDER WITH OBJECT_ID = '%s';\n\n" \
        "$name" "$PRINCIPAL_ID"
}

# flask_sql TARGET CONNECTION_STRING words…: runs flask sql; its status is that of the command. It
# gets the user's own token in the environment, because all processes can read a command line.
flask_sql() {
    local token
    TARGET_NAME="$1" TARGET_STRING="$2"
    shift 2
    show "SQLAZURECONNSTR_$TARGET_NAME=$(redacted "$TARGET_STRING")" .venv/bin/flask sql "$@"
    say "    where TOKEN, in the environment, is the output of: az account get-access-token" >&2
    [ -z "$DRY_RUN" ] || return 0
    token="$(az account get-access-token --resource "https://${SQL_SUFFIX#.}/" \
        --subscription "$SUBSCRIPTION" --query accessToken --output tsv)" || return 1
    TOKEN="$token" watched "$work/sql.txt" flask_here sql "$@"
}

# Sets IDENTITY to the options with the app's identity: its name, and its client id, which the
# directory has after some minutes. The ids distinguish it from others of the same name, also deleted
# ones.
identity_options() {
    CLIENT_ID="${CLIENT_ID:-$(query CLIENT-ID ad sp show --id "$PRINCIPAL_ID" --query appId || true)}"
    IDENTITY=(--app-name "$APP_NAME")
    [ -z "$CLIENT_ID" ] || IDENTITY+=(--app-client-id "$CLIENT_ID")
}
CLIENT_ID=""
IDENTITY=()

deploy_wwif() {
    local address
    identity_options
    set -- WWIF "$WWIF" deploy --target WWIF "${IDENTITY[@]}" --app-object-id "$PRINCIPAL_ID"
    flask_sql "$@" && return
    [ "$CLIENT_IP" = auto ] && [ -n "$CREATE_SQL" ] || return 1
    # Error 40615 contains the client address.
    address="$(sed -n "s/.*Client with IP address '\([0-9.]*\)' is not allowed.*/\1/p" \
        "$work/sql.txt" | head -n 1)"
    [ -n "$address" ] || return 1
    open_firewall "$address" && flask_sql "$@"
}

# A new serverless SQL pool has no databases, and only SQL can create one. Its CREATE USER lacks WITH
# OBJECT_ID.
deploy_taxi() {
    flask_sql TAXI "$TAXI" create-database --target TAXI || return 1
    identity_options
    flask_sql TAXI "$TAXI" deploy --target TAXI "${IDENTITY[@]}" \
        --set "StorageAccount=$STORAGE_ACCOUNT" \
        --set "Container=$STORAGE_CONTAINER" --set "Path=$STORAGE_PATH"
}

# A complete connection string may have its own credentials and rights, so no SQL is run there.
wwif_waits="" taxi_waits=""
if [ -n "$WWIF" ]; then
    say "The rights of '$APP_NAME' in the database WWIF:"
    print_grants azure-sql
    if [ -n "$NO_GRANTS" ] || [ -n "$WWIF_CONNECTION_STRING" ]; then wwif_waits=printed
    else deploy_wwif || wwif_waits=failed; fi
fi
if [ -n "$TAXI" ]; then
    say "The rights of '$APP_NAME' in the database TAXI:"
    print_grants synapse
    if [ -n "$NO_GRANTS" ] || [ -n "$TAXI_CONNECTION_STRING" ]; then taxi_waits=printed
    else deploy_taxi || taxi_waits=failed; fi
fi

# --- the code -------------------------------------------------------------------------------------
# The tracked files in their present state, including uncommitted changes. Without tests, sample and
# package.json, which would make the platform look for Node.

untracked="$(git -C "$project" ls-files --others --exclude-standard 2>/dev/null || true)"
[ -z "$untracked" ] || say "Not deployed, because git does not track them:
$untracked"
package=code.zip
tree=""
if [ -z "$DRY_RUN" ]; then
    package="$work/code.zip"
    # A commit of the changed files, outside of any branch; empty if nothing has changed.
    tree="$(git -C "$project" stash create)"
fi
set -- git archive --format=zip --output "$package" "${tree:-HEAD}" -- . ':(exclude).*' \
    ':(exclude)tests' ':(exclude)bench' ':(exclude)data' ':(exclude)package*.json'
show "$@"
[ -n "$DRY_RUN" ] || (cd "$project" && "$@")

deploy_code() {
    watched "$work/deploy.txt" run webapp deploy --name "$APP_NAME" \
        --resource-group "$RESOURCE_GROUP" --src-path "$package" --type zip \
        --track-status true
}

code_waits=""
if ! deploy_code; then
    # The deployment service restarts after a change of settings and cancels running deployments.
    if ! grep -qi 'container restart' "$work/deploy.txt" || ! deploy_code; then code_waits=failed; fi
fi

# Databases accept a new identity only after some minutes, which have passed by now.
if [ "$wwif_waits" = failed ]; then deploy_wwif && wwif_waits=""; fi
if [ "$taxi_waits" = failed ]; then deploy_taxi && taxi_waits=""; fi

# --- next steps -----------------------------------------------------------------------------------

if [ -n "$SYNAPSE_WORKSPACE" ]; then
    folder="${STORAGE_PATH%/*}"
    folder="${folder#/}"
    say "The trips are the Parquet files $STORAGE_PATH of container '$STORAGE_CONTAINER' in account '$STORAGE_ACCOUNT'. To upload the sample (your account needs the role Storage Blob Data Contributor there):"
    show az storage blob upload --auth-mode login --account-name "$STORAGE_ACCOUNT" \
        --container-name "$STORAGE_CONTAINER" --name "${folder:+$folder/}taxidata.parquet" \
        --file data/taxidata.parquet 2>&1
fi
HOST="$(query HOST webapp show --name "$APP_NAME" --resource-group "$RESOURCE_GROUP" \
    --query defaultHostName)"
if [ -z "$code_waits" ]; then
    say "Running: https://$HOST/"
    say "State of its databases: https://$HOST/health/ready (this logs in, and so resumes a paused database)"
fi
case "$wwif_waits$taxi_waits" in
    *printed*) say "Have an administrator of the database run sql/azure-sql and sql/synapse, with the grants printed above." ;;
esac
case "$wwif_waits$taxi_waits" in
    *failed*) say "Not all of the SQL was run; the reason is above, and docs/azure.md explains it. Run this again, or have an administrator run the folders sql/azure-sql and sql/synapse." >&2 ;;
esac
[ -z "$code_waits" ] ||
    stop "the app was not deployed, or did not start: see 'az webapp log tail --name $APP_NAME --resource-group $RESOURCE_GROUP', then run this again."
case "$wwif_waits$taxi_waits" in
    *failed*) stop "the code was deployed, but not all of the SQL was run." ;;
esac
