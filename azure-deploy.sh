#!/usr/bin/env bash
# From a checkout to a running web app on Azure App Service, with no password anywhere: the app
# proves who it is by its system-assigned identity. Running it again changes nothing that is already
# so, and deploys the code of today. `./azure-deploy.sh --help` lists what can be named.
#
# Kept to bash 3.2 (macOS): no ${value@Q}, no ${value,,}, no bare expansion of an empty array.
set -euo pipefail

usage() {
    cat <<'TEXT'
Usage: ./azure-deploy.sh [options]            create or update, then deploy
       ./azure-deploy.sh --dry-run [options]  print the commands; run none, not even az
       ./azure-deploy.sh --delete [--yes]     remove what this script made

Each option is also a variable of the environment (in brackets) and has a default.

  --subscription NAME_OR_ID   [SUBSCRIPTION]      the one `az account show` names
  --resource-group NAME       [RESOURCE_GROUP]    sql-procedures-api
  --location NAME             [LOCATION]          westeurope
  --app-name NAME             [APP_NAME]          sql-procedures-api-<hash of subscription, group>
  --plan NAME                 [PLAN]              <app name>-plan
  --sku NAME                  [SKU]               B1
  --runtime NAME:VERSION      [RUNTIME]           PYTHON:3.13
  --startup COMMAND           [STARTUP]           gunicorn app:app
  --health-path PATH          [HEALTH_PATH]       /health/ready
  --setting KEY=VALUE         an app setting; may be given again. The value is not printed.

Databases: at least one of these.
  --create-sql                [CREATE_SQL=1]      make the Azure SQL server and database if absent
  --sql-server NAME           [SQL_SERVER]        <app name>-sql with --create-sql, else none
  --sql-resource-group NAME   [SQL_RESOURCE_GROUP] the group above
  --sql-database NAME         [SQL_DATABASE]      WWI
  --sql-admin-name NAME       [SQL_ADMIN_NAME]    the signed-in user   (Entra administrator)
  --sql-admin-id OBJECT_ID    [SQL_ADMIN_ID]      the signed-in user
  --sql-admin-type TYPE       [SQL_ADMIN_TYPE]    User (or Group, Application)
  --client-ip ADDRESS         [CLIENT_IP]         none; let this machine reach a server made here
  --synapse-workspace NAME    [SYNAPSE_WORKSPACE] none
  --taxi-database NAME        [TAXI_DATABASE]     TAXI
  --storage-account NAME      [STORAGE_ACCOUNT]   none; required with --synapse-workspace
  --storage-container NAME    [STORAGE_CONTAINER] taxidata
  --storage-path PATH         [STORAGE_PATH]      /taxidata/*.parquet
  WWIF_CONNECTION_STRING, TAXI_CONNECTION_STRING  whole connection strings instead, from the
                              environment only: a flag would show them to every `ps`

  --no-grants                 [NO_GRANTS=1]       print the SQL for the app's identity, run none
  --yes                       [YES=1]             do not ask before --delete
TEXT
}

say() { printf '%s\n' "$*"; }
stop() { printf 'azure-deploy.sh: %s\n' "$*" >&2; exit 1; }

# --- what was asked for ---------------------------------------------------------------------------

SUBSCRIPTION="${SUBSCRIPTION:-}"
RESOURCE_GROUP="${RESOURCE_GROUP:-sql-procedures-api}"
LOCATION="${LOCATION:-westeurope}"
APP_NAME="${APP_NAME:-}"
PLAN="${PLAN:-}"
SKU="${SKU:-B1}"
RUNTIME="${RUNTIME:-PYTHON:3.13}"
STARTUP="${STARTUP:-gunicorn app:app}"
HEALTH_PATH="${HEALTH_PATH:-/health/ready}"
CREATE_SQL="${CREATE_SQL:-}"
SQL_SERVER="${SQL_SERVER:-}"
SQL_RESOURCE_GROUP="${SQL_RESOURCE_GROUP:-}"
SQL_DATABASE="${SQL_DATABASE:-WWI}"
SQL_ADMIN_NAME="${SQL_ADMIN_NAME:-}"
SQL_ADMIN_ID="${SQL_ADMIN_ID:-}"
SQL_ADMIN_TYPE="${SQL_ADMIN_TYPE:-User}"
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
        --no-grants) NO_GRANTS=1; shift; continue ;;
        --yes) YES=1; shift; continue ;;
        --*) ;;
        *) stop "'$1' is not an option; --help lists them." ;;
    esac
    [ $# -ge 2 ] || stop "$1 needs a value, or is not an option; --help lists them."
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
        *) stop "'$1' is not an option; --help lists them." ;;
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

# Every command is shown before it runs, quoted so that it can be pasted; on standard error, since
# the answers of queries are taken from standard output.
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

# ask PLACEHOLDER words…: the answer, or in a dry run the placeholder.
ask() {
    local placeholder="$1"
    shift
    # `az ad` asks the directory, which knows no subscriptions and refuses the option.
    [ "$1" = ad ] || set -- "$@" --subscription "$SUBSCRIPTION"
    show az "$@" --output tsv
    if [ -n "$DRY_RUN" ]; then
        printf '%s' "$placeholder"
    else
        az "$@" --output tsv
    fi
}

# run_reading TEXT SHOWN words…: az reads TEXT from standard input where the words say `@-`, so that
# a connection string is on no command line, neither echoed nor in the process list.
run_reading() {
    local text="$1" shown="$2"
    shift 2
    show az "$@" --subscription "$SUBSCRIPTION"
    printf '    where @- reads: %s\n' "$shown" >&2
    [ -n "$DRY_RUN" ] || printf '%s' "$text" | az "$@" --subscription "$SUBSCRIPTION" --output none
}

# A connection string with the value of its password left out, braced or not.
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

# No Driver=: the app takes the newest installed, or the one that comes with its requirements.
connection_string() {
    printf 'Server=tcp:%s,1433;Database=%s;Encrypt=yes' "$1" "$(odbc_value "$2")"
}

# --- before anything is changed -------------------------------------------------------------------

if [ -z "$DRY_RUN" ]; then
    command -v az >/dev/null 2>&1 ||
        stop "the Azure CLI (az) is not installed: https://learn.microsoft.com/cli/azure/install-azure-cli"
    if [ -n "$SUBSCRIPTION" ]; then
        SUBSCRIPTION="$(az account show --subscription "$SUBSCRIPTION" --query id --output tsv 2>/dev/null)" ||
            stop "az is not logged in, or that subscription is not yours: run 'az login' first."
    else
        SUBSCRIPTION="$(az account show --query id --output tsv 2>/dev/null)" ||
            stop "az is not logged in: run 'az login' first."
    fi
    [ -n "$SUBSCRIPTION" ] || stop "az names no subscription: run 'az login' and 'az account set'."
    SUBSCRIPTION_HASH="$(printf '%s/%s' "$SUBSCRIPTION" "$RESOURCE_GROUP" | cksum | cut -d ' ' -f 1)"
else
    SUBSCRIPTION="${SUBSCRIPTION:-SUBSCRIPTION-ID}"
    SUBSCRIPTION_HASH="HASH"
fi

APP_NAME="${APP_NAME:-sql-procedures-api-$SUBSCRIPTION_HASH}"
PLAN="${PLAN:-$APP_NAME-plan}"

case "$APP_NAME" in
    *[!A-Za-z0-9-]* | -* | *-) stop "the app's name '$APP_NAME' may hold letters, digits and inner hyphens only." ;;
esac
if [ "${#APP_NAME}" -lt 2 ] || [ "${#APP_NAME}" -gt 60 ]; then
    stop "the app's name '$APP_NAME' must be 2 to 60 characters long."
fi
if [ -n "$CREATE_SQL" ]; then
    SQL_SERVER="${SQL_SERVER:-$(printf '%s-sql' "$APP_NAME" | tr '[:upper:]' '[:lower:]')}"
fi
# Both become part of a host name.
case "$SQL_SERVER$SYNAPSE_WORKSPACE" in
    *[!A-Za-z0-9-]*) stop "name the SQL server and the Synapse workspace without their domain: letters, digits, hyphens." ;;
esac

# The tag tells what --delete may remove whole.
TAG="made-by=azure-deploy.sh"

# named NAME words…: whether the resources listed hold one of that name. A list that fails stops the
# script: "not to be seen" is not "not there".
named() {
    local name found
    name="$(printf '%s' "$1" | sed "s/'/\\\\'/g")"
    shift
    found="$(ask "" "$@" --query "[?name=='$name'].name")" || stop "az $1 $2 failed; its message is above."
    [ -n "$found" ]
}

# --- --delete -------------------------------------------------------------------------------------

delete_all() {
    local tag principal storage there
    if [ -z "$YES" ] && [ -z "$DRY_RUN" ]; then
        printf "Remove web app '%s' and what was made with it in group '%s'? Type its name: " \
            "$APP_NAME" "$RESOURCE_GROUP" >&2
        local answer=""
        read -r answer || true
        [ "$answer" = "$APP_NAME" ] || stop "nothing was removed."
    fi
    there="$(ask true group exists --name "$RESOURCE_GROUP")"
    if [ "$there" != true ]; then
        say "There is no group '$RESOURCE_GROUP': nothing to remove."
        return
    fi
    if [ -n "$STORAGE_ACCOUNT" ]; then
        # An assignment outlives its identity, and then only its object id is left to see.
        principal="$(ask PRINCIPAL-ID webapp list --resource-group "$RESOURCE_GROUP" \
            --query "[?name=='$APP_NAME'].identity.principalId")"
        storage="$(ask STORAGE-ID storage account show --name "$STORAGE_ACCOUNT" --query id)"
        [ -z "$principal" ] || run role assignment delete --assignee "$principal" \
            --role "Storage Blob Data Reader" --scope "$storage"
    fi
    tag="$(ask azure-deploy.sh group show --name "$RESOURCE_GROUP" --query 'tags."made-by"')"
    if [ "$tag" = azure-deploy.sh ]; then
        run group delete --name "$RESOURCE_GROUP" --yes
    else
        say "Group '$RESOURCE_GROUP' was not made by this script and stays; so do its databases."
        if named "$APP_NAME" webapp list --resource-group "$RESOURCE_GROUP"; then
            # Without --keep-empty-plan the plan goes with the last app on it.
            run webapp delete --name "$APP_NAME" --resource-group "$RESOURCE_GROUP"
        fi
    fi
    say "In each database that stays, remove the app's user: DROP USER IF EXISTS [$APP_NAME];"
}

if [ -n "$DELETE" ]; then
    delete_all
    exit 0
fi

# --- which databases ------------------------------------------------------------------------------

WWIF="$WWIF_CONNECTION_STRING"
TAXI="$TAXI_CONNECTION_STRING"
if [ -z "$WWIF" ] && [ -n "$SQL_SERVER" ]; then
    WWIF="$(connection_string "$SQL_SERVER.database.windows.net" "$SQL_DATABASE")"
fi
if [ -n "$SYNAPSE_WORKSPACE" ]; then
    [ -n "$STORAGE_ACCOUNT" ] ||
        stop "STORAGE_ACCOUNT is unset: name the account that holds the taxi files (--storage-account)."
    TAXI="${TAXI:-$(connection_string "$SYNAPSE_WORKSPACE-ondemand.sql.azuresynapse.net" "$TAXI_DATABASE")}"
fi
[ -n "$WWIF$TAXI" ] ||
    stop "no database is named: give --create-sql, --sql-server or --synapse-workspace, or set WWIF_CONNECTION_STRING or TAXI_CONNECTION_STRING."
for setting in ${SETTINGS[@]+"${SETTINGS[@]}"}; do
    case "$setting" in
        [A-Za-z_]*=*) ;;
        *) stop "--setting takes KEY=VALUE." ;;
    esac
done

project="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
if [ ! -f "$project/app.py" ] || [ ! -f "$project/requirements.txt" ]; then
    stop "app.py and requirements.txt must lie beside this script: that folder is what is deployed."
fi

# --- group, plan, app, identity -------------------------------------------------------------------
# The app is made empty and configured before it gets its code: started without connection strings
# it would refuse, and `az webapp up` would report a failed start.

group_exists="$(ask false group exists --name "$RESOURCE_GROUP")"
if [ "$group_exists" != true ]; then
    run group create --name "$RESOURCE_GROUP" --location "$LOCATION" --tags "$TAG"
fi
if ! named "$PLAN" appservice plan list --resource-group "$RESOURCE_GROUP"; then
    run appservice plan create --name "$PLAN" --resource-group "$RESOURCE_GROUP" \
        --location "$LOCATION" --is-linux --sku "$SKU" --tags "$TAG"
fi
if ! named "$APP_NAME" webapp list --resource-group "$RESOURCE_GROUP"; then
    run webapp create --name "$APP_NAME" --resource-group "$RESOURCE_GROUP" --plan "$PLAN" \
        --runtime "$RUNTIME" --https-only true --basic-auth Disabled --tags "$TAG"
fi
run webapp update --name "$APP_NAME" --resource-group "$RESOURCE_GROUP" --https-only true
PRINCIPAL_ID="$(ask PRINCIPAL-ID webapp identity assign --name "$APP_NAME" \
    --resource-group "$RESOURCE_GROUP" --query principalId)"
[ -n "$PRINCIPAL_ID" ] || stop "web app '$APP_NAME' got no system-assigned identity."

# --- Azure SQL ------------------------------------------------------------------------------------

if [ -n "$CREATE_SQL" ]; then
    if ! named "$SQL_SERVER" sql server list --resource-group "$SQL_RESOURCE_GROUP"; then
        if [ -z "$SQL_ADMIN_ID" ]; then
            SQL_ADMIN_ID="$(ask ADMIN-OBJECT-ID ad signed-in-user show --query id)" ||
                stop "SQL_ADMIN_ID is unset and no user is signed in: give --sql-admin-id, --sql-admin-name and --sql-admin-type."
        fi
        if [ -z "$SQL_ADMIN_NAME" ]; then
            SQL_ADMIN_NAME="$(ask ADMIN-NAME ad signed-in-user show --query userPrincipalName)" ||
                stop "SQL_ADMIN_NAME is unset and no user is signed in: give --sql-admin-name."
        fi
        run sql server create --name "$SQL_SERVER" --resource-group "$SQL_RESOURCE_GROUP" \
            --location "$LOCATION" --enable-ad-only-auth \
            --external-admin-principal-type "$SQL_ADMIN_TYPE" \
            --external-admin-name "$SQL_ADMIN_NAME" --external-admin-sid "$SQL_ADMIN_ID" \
            --minimal-tls-version 1.2
    fi
    if ! named "$SQL_DATABASE" sql db list --resource-group "$SQL_RESOURCE_GROUP" --server "$SQL_SERVER"; then
        run sql db create --name "$SQL_DATABASE" --resource-group "$SQL_RESOURCE_GROUP" \
            --server "$SQL_SERVER" --edition GeneralPurpose --family Gen5 --capacity 1 \
            --compute-model Serverless --min-capacity 0.5 --auto-pause-delay 60 \
            --backup-storage-redundancy Local --yes
    fi
    # 0.0.0.0 is not an address here: it stands for "services within Azure".
    run sql server firewall-rule create --name AllowAzureServices \
        --resource-group "$SQL_RESOURCE_GROUP" --server "$SQL_SERVER" \
        --start-ip-address 0.0.0.0 --end-ip-address 0.0.0.0
    if [ -n "$CLIENT_IP" ]; then
        run sql server firewall-rule create --name DeployingMachine \
            --resource-group "$SQL_RESOURCE_GROUP" --server "$SQL_SERVER" \
            --start-ip-address "$CLIENT_IP" --end-ip-address "$CLIENT_IP"
    fi
fi

# --- Synapse: who may read the files ---------------------------------------------------------------
# The procedures of sql/synapse read as the workspace's identity; the app's own is asked where an
# external data source has no credential (Entra pass-through).

if [ -n "$SYNAPSE_WORKSPACE" ]; then
    STORAGE_ID="$(ask STORAGE-ID storage account show --name "$STORAGE_ACCOUNT" --query id)"
    [ -n "$STORAGE_ID" ] || stop "there is no storage account '$STORAGE_ACCOUNT' in this subscription."
    WORKSPACE_ID="$(ask WORKSPACE-PRINCIPAL-ID resource list --name "$SYNAPSE_WORKSPACE" \
        --resource-type Microsoft.Synapse/workspaces --query "[0].identity.principalId")"
    [ -n "$WORKSPACE_ID" ] || stop "there is no Synapse workspace '$SYNAPSE_WORKSPACE' in this subscription."
    # Naming the principal's type spares a look-up that fails while a new identity spreads.
    for principal in "$WORKSPACE_ID" "$PRINCIPAL_ID"; do
        run role assignment create --assignee-object-id "$principal" \
            --assignee-principal-type ServicePrincipal \
            --role "Storage Blob Data Reader" --scope "$STORAGE_ID"
    done
fi

# --- settings of the app --------------------------------------------------------------------------

set_connection_string() {
    run_reading "$1=$2" "$1=$(redacted "$2")" webapp config connection-string set \
        --name "$APP_NAME" --resource-group "$RESOURCE_GROUP" \
        --connection-string-type SQLAzure --settings @-
}
[ -z "$WWIF" ] || set_connection_string WWIF "$WWIF"
[ -z "$TAXI" ] || set_connection_string TAXI "$TAXI"

# The platform installs requirements.txt after unpacking.
run webapp config appsettings set --name "$APP_NAME" --resource-group "$RESOURCE_GROUP" \
    --settings SCM_DO_BUILD_DURING_DEPLOYMENT=true
for setting in ${SETTINGS[@]+"${SETTINGS[@]}"}; do
    run_reading "$setting" "${setting%%=*}=***" webapp config appsettings set \
        --name "$APP_NAME" --resource-group "$RESOURCE_GROUP" --settings @-
done

case "$SKU" in
    F1 | FREE | D1 | SHARED) always_on=false ;; # not offered there
    *) always_on=true ;;
esac
run webapp config set --name "$APP_NAME" --resource-group "$RESOURCE_GROUP" \
    --startup-file "$STARTUP" --min-tls-version 1.2 --ftps-state Disabled \
    --http20-enabled true --always-on "$always_on" \
    --generic-configurations "{\"healthCheckPath\": \"$HEALTH_PATH\"}"

# --- procedures and grants in the databases -------------------------------------------------------

FLASK="$project/.venv/bin/flask"
[ -x "$FLASK" ] || FLASK="$(command -v flask || true)"

# The text of the grants, with the app's name as an identifier (`]` doubled, though no app's name
# holds one).
print_grants() {
    local folder="$1" name file
    name="$(printf '%s' "$APP_NAME" | sed 's/]/]]/g')"
    for file in "$project/sql/$folder"/*grants*.sql; do
        [ -f "$file" ] || continue
        printf -- '-- sql/%s/%s\n' "$folder" "${file##*/}"
        sed "s/\$(AppName)/$name/g" "$file"
        printf '\n'
    done
}

# deploy_sql TARGET CONNECTION_STRING words…: true if it ran. The token is the caller's own, handed
# on in the environment: a command line is readable by every process of the machine.
deploy_sql() {
    local target="$1" string="$2" token
    shift 2
    set -- sql deploy --target "$target" --app-name "$APP_NAME" "$@"
    show "SQLAZURECONNSTR_$target=$(redacted "$string")" flask "$@"
    say "    where TOKEN, in the environment, is the answer of: az account get-access-token" >&2
    [ -z "$DRY_RUN" ] || return 0
    [ -n "$FLASK" ] || { say "flask is not installed here: start scripts/run once, which makes .venv."; return 1; }
    token="$(az account get-access-token --resource https://database.windows.net/ \
        --subscription "$SUBSCRIPTION" --query accessToken --output tsv)" || return 1
    (
        cd "$project"
        # Empty, not unset: an empty variable also outranks a line of .env.
        for prefix in SQLAZURECONNSTR SQLCONNSTR CUSTOMCONNSTR POSTGRESQLCONNSTR; do
            export "${prefix}_WWIF=" "${prefix}_TAXI="
        done
        export TOKEN="$token" "SQLAZURECONNSTR_$target=$string"
        exec "$FLASK" "$@"
    )
}

deploy_wwif() { deploy_sql WWIF "$WWIF"; }
deploy_taxi() {
    deploy_sql TAXI "$TAXI" --set "StorageAccount=$STORAGE_ACCOUNT" \
        --set "Container=$STORAGE_CONTAINER" --set "Path=$STORAGE_PATH"
}

# A whole connection string given by hand may have its own credentials and rights: nothing is run
# there unasked.
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
# `az webapp up` packs the folder it stands in, whole: a copy without the caches, the embedded
# database, .env and the tests; and the defaults it writes (.azure/config) stay in the copy.

say "+ cd <copy of $project without hidden files, tests and virtual environments>" >&2
if [ -z "$DRY_RUN" ]; then
    copy="$(mktemp -d)"
    trap 'rm -rf "$copy"' EXIT
    tar -C "$project" -cf - --exclude './.*' --exclude './tests' --exclude './bench' \
        --exclude './data' --exclude './venv' --exclude './antenv' --exclude '__pycache__' \
        --exclude 'node_modules' . | tar -C "$copy" -xf -
    cd "$copy"
fi
run webapp up --name "$APP_NAME" --resource-group "$RESOURCE_GROUP" --plan "$PLAN" \
    --location "$LOCATION" --sku "$SKU" --os-type Linux --runtime "$RUNTIME" \
    --basic-auth Disabled --track-status true
cd "$project"

# A new identity takes minutes to be known to the databases; the deployment has passed since.
if [ "$wwif_waits" = failed ]; then deploy_wwif && wwif_waits=""; fi
if [ "$taxi_waits" = failed ]; then deploy_taxi && taxi_waits=""; fi

HOST="$(ask HOST webapp show --name "$APP_NAME" --resource-group "$RESOURCE_GROUP" \
    --query defaultHostName)"
say "Running: https://$HOST/"
say "Ready when this answers 200: https://$HOST$HEALTH_PATH"
case " ${SETTINGS[*]-}" in
    *" AUTH="*) ;;
    *) say "It starts once it is told who may call: --setting AUTH=... (docs/authentication.md), if never set." ;;
esac
case "$wwif_waits$taxi_waits" in
    *failed*) stop "the code is deployed, but not all of the SQL: the message above says why, docs/azure.md what it means. Run this again, or have an administrator run the folders sql/azure-sql and sql/synapse." ;;
    *printed*) say "Have an administrator of the database run the grants printed above." ;;
esac
